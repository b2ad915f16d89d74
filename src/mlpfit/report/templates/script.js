// Steps the explorers through training; a chosen hidden unit is marked, with its kink in all panels.
for (const box of document.querySelectorAll(".explorer")) {
  const { steps, x, frames, kinks } = JSON.parse(box.querySelector("script").textContent);
  const units = [...box.querySelectorAll(".unit")];
  let at = steps.length - 1, chosen = -1;
  const draw = () => {
    for (const [name, ys] of Object.entries(frames)) {
      const panel = box.querySelector(`svg[data-panel="${name}"]`);
      panel.querySelectorAll("polyline.net, .unit").forEach((line, i) =>
        line.setAttribute("points", ys[at][i].map((y, j) => `${x[j]},${y}`).join(" ")));
      panel.querySelectorAll("circle.net").forEach((dot, i) => dot.setAttribute("cy", ys[at][0][i]));
    }
    units.forEach((line, i) => line.classList.toggle("on", i === chosen));
    const place = chosen >= 0 && kinks.length ? kinks[at][chosen] : -9;
    for (const line of box.querySelectorAll(".kink")) {
      line.setAttribute("x1", place);
      line.setAttribute("x2", place);
    }
  };
  const control = (kind, set) => {
    const label = box.querySelector(`label.${kind}`);
    if (!label) return;
    const slider = label.querySelector("input");
    slider.addEventListener("input", () => {
      const text = String(set(Number(slider.value)));
      label.querySelector("output").textContent = text;
      slider.setAttribute("aria-valuetext", text);
      draw();
    });
  };
  control("steps", (value) => steps[at = value]);
  control("units", (value) => { chosen = value - 1; return value || "none"; });
  units.forEach((line, i) => {
    const before = () => Number(box.querySelector("label.units input")?.value ?? 0) - 1;
    line.addEventListener("mouseenter", () => { chosen = i; draw(); });
    line.addEventListener("mouseleave", () => { chosen = before(); draw(); });
  });
}
