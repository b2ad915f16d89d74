// Steps the explorers through training; hovering or focusing a unit marks its kink in all panels.
for (const box of document.querySelectorAll(".explorer")) {
  const { steps, frames, kinks } = JSON.parse(box.querySelector("script").textContent);
  const slider = box.querySelector("input"), output = box.querySelector("output");
  const panel = (name) => box.querySelector(`svg[data-panel="${name}"]`);
  const points = (ys) => ys.map((y, i) => `${frames.x[i]},${y}`).join(" ");
  let at = steps.length - 1, chosen = -1;
  const move = (svg, ys) => {
    if (!svg || !ys) return;
    if (frames.dots) svg.querySelectorAll("circle.net").forEach((dot, i) => dot.setAttribute("cy", ys[i]));
    else svg.querySelector(".net").setAttribute("points", points(ys));
  };
  const mark = () => {
    const x = chosen >= 0 && kinks.length ? kinks[at][chosen] : -9;
    for (const line of box.querySelectorAll(".kink")) { line.setAttribute("x1", x); line.setAttribute("x2", x); }
  };
  const draw = () => {
    const frame = frames.y[at];
    move(panel("fit"), frame.fit);
    move(panel("residual"), frame.residual);
    const units = panel("parts");
    if (units) units.querySelectorAll(".unit").forEach((line, i) => line.setAttribute("points", points(frame.units[i])));
    if (output) output.textContent = steps[at];
    mark();
  };
  if (slider) slider.addEventListener("input", () => { at = Number(slider.value); draw(); });
  box.querySelectorAll(".unit").forEach((line, i) => {
    const set = (on) => { line.classList.toggle("on", on); chosen = on ? i : -1; mark(); };
    line.addEventListener("mouseenter", () => set(true));
    line.addEventListener("mouseleave", () => set(false));
  });
}
