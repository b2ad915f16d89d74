// When pictures are drawn: once a frame of the display, twice a second where motion is not wanted.

const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const CALM_PAUSE = 500; // milliseconds

export const wantsCalm = (): boolean => CALM.matches;

export class Frames {
  private asked = false;
  private last = 0;

  /** moving: whether training runs; what rests is drawn at once. */
  constructor(
    private readonly draw: () => void,
    private readonly moving: () => boolean,
  ) {}

  /** Draws at the display's next frame. */
  ask = (): void => {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame((now) => {
      this.asked = false;
      if (CALM.matches && this.moving() && now - this.last < CALM_PAUSE) {
        setTimeout(this.ask, CALM_PAUSE);
        return;
      }
      this.last = now;
      this.draw();
    });
  };
}
