// Choosing one unit to be shown alone: by its button, or by clicking near its line.
import type { Parts } from "../model/parts";
import type { Plot } from "../plot/plot";
import { byId, make } from "./dom";

const REACH = 24; // pixels around a line

export class UnitChooser {
  private buttons: HTMLButtonElement[] = [];

  constructor(private readonly onChoose: (unit: number | null) => void) {
    byId("chips").addEventListener("keydown", (event) => this.move(event));
  }

  /** Arrows, Home and End move between the buttons; Tab leaves them. */
  private move(event: KeyboardEvent): void {
    const now = this.buttons.indexOf(event.target as HTMLButtonElement);
    const last = this.buttons.length - 1;
    const places: Record<string, number> = {
      ...{ ArrowRight: Math.min(now + 1, last), ArrowDown: Math.min(now + 1, last) },
      ...{ ArrowLeft: Math.max(now - 1, 0), ArrowUp: Math.max(now - 1, 0), Home: 0, End: last },
    };
    if (now < 0 || !(event.key in places)) return;
    event.preventDefault();
    this.buttons[places[event.key]].focus();
    this.reachable(places[event.key]);
  }

  /** Tab reaches this button of the row. */
  private reachable(unit: number): void {
    this.buttons.forEach((button, j) => (button.tabIndex = j === unit ? 0 : -1));
  }

  show(parts: Parts, unit: number | null): void {
    const box = byId("chips");
    if (this.buttons.length !== parts.shares.length) {
      this.buttons = parts.shares.map((_, j) => this.button(j));
      box.replaceChildren(...(this.buttons.length ? ["units", ...this.buttons] : []));
      this.reachable(unit ?? 0);
    }
    this.buttons.forEach((button, j) => {
      const dead = parts.shares[j].every((value) => value === 0);
      const [kink] = parts.kinks[j];
      const bends = kink === undefined ? "" : `, kink at ${Number(kink.toPrecision(3))}`;
      button.setAttribute("aria-pressed", String(j === unit));
      button.setAttribute(
        "aria-label",
        `unit ${j + 1} alone${dead ? ", adds nothing here" : bends}`,
      );
      button.classList.toggle("dead", dead);
    });
  }

  /** Clicks on this plot choose the unit whose line is nearest; away from all lines: none. */
  listen(plot: Plot, parts: () => Parts | null, x: () => Float64Array): void {
    plot.canvas.addEventListener("click", (event) => {
      const now = parts();
      if (!now?.shares.length) return;
      const at = plot.valueAt(event.clientX);
      const grid = x();
      const i = Math.round(
        ((at - grid[0]) / (grid[grid.length - 1] - grid[0])) * (grid.length - 1),
      );
      const place = Math.min(grid.length - 1, Math.max(0, i));
      const pointer = event.clientY - plot.canvas.getBoundingClientRect().top;
      const distances = now.shares.map((share) => Math.abs(plot.down(share[place]) - pointer));
      const nearest = distances.indexOf(Math.min(...distances));
      this.onChoose(distances[nearest] <= REACH ? nearest : null);
    });
  }

  private button(unit: number): HTMLButtonElement {
    const button = make("button", { type: "button" }, String(unit + 1));
    button.addEventListener("click", () => {
      this.onChoose(button.getAttribute("aria-pressed") === "true" ? null : unit);
    });
    return button;
  }
}
