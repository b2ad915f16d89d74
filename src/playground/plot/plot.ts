// One panel: layers of bands, lines and points over two axes, on a canvas.
import { type Axis, label, position, ticks } from "./axes";
import { colour, type Meaning } from "./theme";

export type Layer =
  | {
      kind: "band";
      x: ArrayLike<number>;
      low: ArrayLike<number>;
      high: ArrayLike<number>;
      meaning: Meaning;
      alpha: number;
    }
  | {
      kind: "line";
      x: ArrayLike<number>;
      y: ArrayLike<number>;
      meaning: Meaning;
      width?: number;
      dash?: number[];
      alpha?: number;
    }
  | {
      kind: "points";
      x: ArrayLike<number>;
      y: ArrayLike<number>;
      meaning: Meaning;
      size?: number;
      alpha?: number;
      hollow?: boolean;
    }
  | { kind: "upright"; at: number; meaning: Meaning; dash?: number[]; alpha?: number };

export interface Picture {
  x: Axis;
  y: Axis;
  xLabel: string;
  layers: Layer[];
}

const MARGIN = { left: 46, right: 18, top: 8, bottom: 34 };
const FONT = "11px system-ui, sans-serif";

export class Plot {
  private picture: Picture | null = null;
  private readonly pen: CanvasRenderingContext2D;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.pen = canvas.getContext("2d") as CanvasRenderingContext2D;
    new ResizeObserver(() => this.picture && this.draw(this.picture)).observe(canvas);
  }

  draw(picture: Picture): void {
    this.picture = picture;
    const { canvas, pen } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const dots = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * dots) || canvas.height !== Math.round(height * dots)) {
      canvas.width = Math.round(width * dots);
      canvas.height = Math.round(height * dots);
    }
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.axes(picture, width, height);
    pen.save();
    pen.beginPath();
    pen.rect(MARGIN.left, MARGIN.top, this.innerWidth, this.innerHeight);
    pen.clip();
    for (const layer of picture.layers) this.layer(layer, picture);
    pen.restore();
  }

  /** The x value under a pointer. */
  valueAt(clientX: number): number {
    const { low, high } = (this.picture as Picture).x;
    const share =
      (clientX - this.canvas.getBoundingClientRect().left - MARGIN.left) / this.innerWidth;
    return low + Math.min(1, Math.max(0, share)) * (high - low);
  }

  /** Pixels from the top of the canvas of a y value. */
  down(y: number): number {
    const share = position((this.picture as Picture).y, y);
    return MARGIN.top + (1 - share) * this.innerHeight;
  }

  private get innerWidth(): number {
    return this.canvas.clientWidth - MARGIN.left - MARGIN.right;
  }

  private get innerHeight(): number {
    return this.canvas.clientHeight - MARGIN.top - MARGIN.bottom;
  }

  private axes({ x, y, xLabel }: Picture, width: number, height: number): void {
    const { pen } = this;
    pen.font = FONT;
    pen.lineWidth = 1;
    pen.strokeStyle = colour("line");
    pen.fillStyle = colour("soft");
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const value of ticks(y, 5)) {
      const at = Math.round(this.down(value)) + 0.5;
      stroke(pen, [MARGIN.left, at, width - MARGIN.right, at]);
      pen.fillText(label(value), MARGIN.left - 6, at);
    }
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (const value of ticks(x, this.innerWidth > 300 ? 6 : 4)) {
      const at = Math.round(MARGIN.left + position(x, value) * this.innerWidth) + 0.5;
      stroke(pen, [at, height - MARGIN.bottom, at, height - MARGIN.bottom + 4]);
      pen.fillText(label(value), at, height - MARGIN.bottom + 6);
    }
    pen.fillText(xLabel, MARGIN.left + this.innerWidth / 2, height - 13);
  }

  private layer(layer: Layer, { x }: Picture): void {
    const { pen } = this;
    const across = (value: number): number => MARGIN.left + position(x, value) * this.innerWidth;
    const down = (value: number): number => Math.min(1e4, Math.max(-1e4, this.down(value)));
    pen.globalAlpha = layer.alpha ?? 1;
    pen.strokeStyle = pen.fillStyle = colour(layer.meaning);
    pen.setLineDash("dash" in layer ? (layer.dash ?? []) : []);
    pen.lineWidth = layer.kind === "line" ? (layer.width ?? 1.8) : 1.2;
    pen.lineJoin = "round";
    pen.beginPath();
    if (layer.kind === "upright") {
      const at = across(layer.at);
      stroke(pen, [at, MARGIN.top, at, MARGIN.top + this.innerHeight]);
    } else if (layer.kind === "points") points(pen, layer, across, down);
    else if (layer.kind === "line") line(pen, layer, across, down);
    else area(pen, layer, across, down);
    pen.globalAlpha = 1;
    pen.setLineDash([]);
  }
}

type Pen = CanvasRenderingContext2D;
type Place = (value: number) => number;
type Of<K extends Layer["kind"]> = Extract<Layer, { kind: K }>;

function points(
  pen: Pen,
  { x, y, size = 2.2, hollow }: Of<"points">,
  across: Place,
  down: Place,
): void {
  for (let i = 0; i < x.length; i++) {
    if (!Number.isFinite(y[i])) continue;
    const [px, py] = [across(x[i]), down(y[i])];
    pen.moveTo(px + size, py);
    pen.arc(px, py, size, 0, 2 * Math.PI);
  }
  if (hollow) pen.stroke();
  else pen.fill();
}

/** Broken where a value is not a number. */
function line(pen: Pen, { x, y }: Of<"line">, across: Place, down: Place): void {
  for (let i = 0, broken = true; i < x.length; i++) {
    const missing = Number.isNaN(y[i]);
    if (!missing && broken) pen.moveTo(across(x[i]), down(y[i]));
    else if (!missing) pen.lineTo(across(x[i]), down(y[i]));
    broken = missing;
  }
  pen.stroke();
}

function area(pen: Pen, { x, low, high }: Of<"band">, across: Place, down: Place): void {
  for (let i = 0; i < x.length; i++) pen.lineTo(across(x[i]), down(low[i]));
  for (let i = x.length - 1; i >= 0; i--) pen.lineTo(across(x[i]), down(high[i]));
  pen.fill();
}

function stroke(pen: CanvasRenderingContext2D, [x1, y1, x2, y2]: number[]): void {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}
