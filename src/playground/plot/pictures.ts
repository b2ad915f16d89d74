// The four canvases of the page and the keys below them.
import { fitPicture, lossPicture, residualPicture, type Scene, unitsPicture } from "./panels";
import { Plot } from "./plot";

const canvas = (id: string): HTMLCanvasElement => document.getElementById(id) as HTMLCanvasElement;

export class Pictures {
  readonly fit = new Plot(canvas("fit"));
  readonly loss = new Plot(canvas("losses"));
  readonly units = new Plot(canvas("units"));
  readonly residual = new Plot(canvas("residual"));

  draw(scene: Scene): void {
    this.fit.draw(fitPicture(scene));
    this.loss.draw(lossPicture(scene));
    this.units.draw(unitsPicture(scene));
    this.residual.draw(residualPicture(scene));
    show("[data-band]", scene.fitBand !== null);
    show("[data-own]", scene.ownFitBand !== null);
    show("[data-published]", scene.curve !== null);
    show("[data-printed]", scene.printed.length > 0);
  }
}

function show(keys: string, shown: boolean): void {
  for (const key of document.querySelectorAll<HTMLElement>(keys)) key.hidden = !shown;
}
