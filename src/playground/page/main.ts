// The page: settings in, a worker that trains them, pictures out; the whole state is in the address.
import type { Problem } from "../model/problem";
import { Frames, wantsCalm } from "../plot/frames";
import type { Scene } from "../plot/panels";
import { Pictures } from "../plot/pictures";
import { type Ground, ground, numbers, shown } from "../plot/scene";
import { onThemeChange } from "../plot/theme";
import { PublishedBand } from "../state/bands";
import { type Evidence, type Experiment, publishedStart, unpack } from "../state/evidence";
import { command, departures, FIRST_VIEW, fromFragment, type State } from "../state/link";
import { startsAsPublished, toFragment } from "../state/link";
import { changed, problemOf, published, toProblem, type Value } from "../state/settings";
import { Controls } from "./controls";
import { byId, copy } from "./dom";
import { describe, read, showNumbers, steps } from "./readout";
import { Hundred, publishedWords } from "./seeds";
import { Trainer } from "../worker/trainer";
import { aboutBand, leftOut, noBand, reasonForNoBand, showClaims, verdictWords } from "./sayings";
import { UnitChooser } from "./units";

const evidence = JSON.parse(byId("evidence").textContent ?? "{}") as Evidence;

/** The experiment of the most steps: there is most to see. */
const FIRST = Object.keys(evidence.experiments).reduce((a, b) => {
  const of = (name: string): number =>
    evidence.experiments[name].settings["trainer.max_steps"] as number;
  return of(b) > of(a) ? b : a;
});

class Page {
  private state: State = { settings: published(evidence, FIRST), view: FIRST_VIEW };
  private following = true; // what is shown is the last step trained
  private ground: Ground | null = null;
  private band: PublishedBand | null = null;
  private curve: Scene["curve"] = null;
  private scene: Scene | null = null;

  readonly trainer = new Trainer(
    () => this.onTrained(),
    (message) => this.complain(message),
  );
  private readonly frames = new Frames(
    () => this.draw(),
    () => this.trainer.running,
  );
  readonly hundred = new Hundred(this.frames.ask);
  private readonly controls = new Controls(evidence, (key, value) => this.set(key, value));
  private readonly chooser = new UnitChooser((unit) => this.choose(unit));
  private readonly pictures = new Pictures();

  constructor() {
    const scrub = byId<HTMLInputElement>("scrub");
    byId("play").addEventListener("click", () => this.play());
    byId("step").addEventListener("click", () => this.one());
    byId("rewind").addEventListener("click", () => this.rewind());
    byId("pace").addEventListener("change", () => this.trainer.running && this.go());
    scrub.addEventListener("input", () => this.look(Number(scrub.value)));
    scrub.addEventListener("change", () => this.rest());
    this.pictures.loss.canvas.addEventListener("click", (event) => {
      this.look(this.pictures.loss.valueAt(event.clientX));
      this.rest();
    });
    const parts = () => this.scene?.parts ?? null;
    const x = () => this.ground?.x ?? new Float64Array(1);
    this.chooser.listen(this.pictures.units, parts, x);
    byId("hundred").addEventListener("click", () => this.seeds());
    byId("copy").addEventListener("click", () => this.copied(byId("command").textContent ?? ""));
    byId("link").addEventListener("click", () => this.copied(location.href));
    addEventListener("hashchange", () => this.open());
    onThemeChange(this.frames.ask);
    if (wantsCalm()) byId<HTMLSelectElement>("pace").value = "full";
    byId("left-out").textContent = leftOut(evidence.left_out);
    this.open();
  }

  /** Takes the state from the address; a bad one gives one line and the defaults. */
  private open(): void {
    let wrong: string | null = null;
    let state: State;
    try {
      state = fromFragment(evidence, location.hash.slice(1), FIRST);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      wrong = `The link can't be read: ${error.message}. The defaults are shown.`;
      state = { settings: published(evidence, FIRST), view: FIRST_VIEW };
    }
    this.begin(state, true);
    this.complain(wrong);
  }

  /** Starts this state anew and trains to the step that is to be seen. */
  private begin(state: State, fresh = false): void {
    this.state = state;
    const { band, curve } = this.experiment;
    this.band = band && new PublishedBand(band);
    this.curve = { steps: curve.steps, loss: unpack(curve.loss) };
    this.ground = this.scene = null;
    this.hundred.clear();
    this.complain(null);
    this.restart(toProblem(state.settings));
    this.trainer.run(state.view.step, null);
    this.words(fresh);
  }

  private restart(problem: Problem): void {
    const asPublished = startsAsPublished(evidence, this.state.settings);
    this.following = true;
    this.trainer.begin(problem, asPublished ? publishedStart(this.experiment) : null);
  }

  private get experiment(): Experiment {
    return evidence.experiments[this.state.settings.experiment as string];
  }

  private words(fresh = false): void {
    const { settings } = this.state;
    const name = settings.experiment as string;
    this.controls.show(settings, fresh);
    byId("command").textContent = command(evidence, settings);
    aboutBand(name, this.band, departures(evidence, settings), this.comparable);
    showClaims(evidence.claims, name.split("/")[0]);
    byId("verdict").textContent = verdictWords(name, this.experiment.verdict);
    noBand(this.noBand);
    byId("published-words").textContent = publishedWords(name, this.experiment);
  }

  private set(key: string, value: Value): void {
    const settings = changed(evidence, this.state.settings, key, value);
    const wrong = problemOf(settings);
    this.controls.wrong(key, wrong);
    if (
      wrong ||
      toFragment(evidence, { ...this.state, settings }) === toFragment(evidence, this.state)
    )
      return;
    if (key === "trainer.max_steps" && this.trainer.problem) {
      this.trainer.problem.steps = value as number; // trained steps stay trained
      this.state = { ...this.state, settings };
      this.hundred.clear();
      this.words();
      this.frames.ask();
    } else {
      // Another experiment or function replaces what was typed for the one before.
      if (key === "target") this.controls.wrong("target.f", null);
      this.begin({ settings, view: FIRST_VIEW }, key === "experiment");
    }
    history.pushState(null, "", `#${toFragment(evidence, this.state)}`);
    this.controls.retry();
  }

  private choose(unit: number | null): void {
    this.state = {
      ...this.state,
      view: { ...this.state.view, unit: unit === null ? null : unit + 1 },
    };
    this.rest();
    this.frames.ask();
  }

  private seeds(): void {
    if (this.hundred.training) return this.hundred.stop();
    if (!this.ground || !this.trainer.problem) return;
    this.state = { ...this.state, view: { ...this.state.view, seeds: true } };
    this.hundred.train({ ...this.trainer.problem }, this.ground.x);
    this.rest();
  }

  private play(): void {
    if (this.trainer.running) return (this.trainer.pause(), this.rest());
    const over = this.trainer.timeline.steps >= this.steps || this.trainer.diverged;
    if (over) this.rewind();
    this.go();
  }

  private go(): void {
    const pace = byId<HTMLSelectElement>("pace").value;
    const perSecond = { ten: Math.max(1, this.steps / 10), slow: 20 }[pace] ?? null;
    this.following = true;
    this.trainer.run(this.steps, perSecond);
    this.say("");
    this.frames.ask();
  }

  private one(): void {
    this.following = true;
    this.trainer.pause();
    if (!this.trainer.diverged) this.trainer.run(this.trainer.timeline.steps + 1, null);
  }

  private rewind(): void {
    if (!this.trainer.problem) return;
    this.restart(this.trainer.problem);
    this.state = { ...this.state, view: { ...this.state.view, step: 0 } };
    this.rest();
  }

  /** Shows an earlier step of what has been trained. */
  private look(step: number): void {
    this.trainer.pause();
    this.following = false;
    const nearest = this.trainer.timeline.nearest(step).step;
    this.state = { ...this.state, view: { ...this.state.view, step: nearest } };
    this.frames.ask();
  }

  private onTrained(): void {
    const { rows, problem, timeline, running } = this.trainer;
    if (!rows || !problem) return;
    this.ground ??= ground(problem, rows);
    const { view } = this.state;
    if (view.seeds && !this.hundred.training && !this.hundred.bands) this.seeds();
    if (this.following && (timeline.steps > 0 || !running)) {
      this.state = { ...this.state, view: { ...this.state.view, step: timeline.steps } };
    }
    if (!running && timeline.steps > 0) this.rest();
    this.frames.ask();
  }

  /** Nothing moves: the address and the words say where we are. */
  private rest(): void {
    history.replaceState(null, "", `#${toFragment(evidence, this.state)}`);
    if (this.trainer.running) return;
    const { step } = this.state.view;
    const { timeline, diverged } = this.trainer;
    const lost = `Diverged: the loss of step ${timeline.steps} is not finite. Try a smaller learning rate.`;
    const all = step >= this.steps ? `All ${steps(this.steps)} done.` : `After ${steps(step)}.`;
    this.say(diverged && step === timeline.steps ? lost : step > 0 ? all : "");
    this.frames.ask();
  }

  private get steps(): number {
    return this.state.settings["trainer.max_steps"] as number;
  }

  /** Whether the published seeds learnt the same rows and are judged by the same loss. */
  private get comparable(): boolean {
    const apart = departures(evidence, this.state.settings);
    return !apart.some((key) => key.startsWith("target") || key === "loss");
  }

  /** Why no published seeds are shown, in three words; empty if they are. */
  private get noBand(): string {
    return reasonForNoBand(this.band, departures(evidence, this.state.settings));
  }

  private draw(): void {
    const { rows, problem, timeline, running } = this.trainer;
    const { ground: place, state } = this;
    if (!rows || !problem || !place) return;
    const at = timeline.nearest(this.following ? timeline.steps : state.view.step);
    const theirs = this.comparable ? this.band : null;
    const reading = read(this.trainer, problem, numbers(problem, rows, at), at.step, theirs);
    const mine = this.hundred.bands;
    const unit = state.view.unit === null ? null : state.view.unit - 1;
    const scene: Scene = {
      ...shown(problem, rows, place, at),
      ...{ unit, losses: timeline.losses.subarray(0, timeline.steps), steps: this.steps },
      ...{ fitBand: theirs?.fit ?? null, lossBand: theirs?.loss ?? null },
      ...{ ownFitBand: mine?.fit ?? null, ownLossBand: mine?.loss ?? null },
      curve: this.comparable ? this.curve : null,
      printed: this.comparable ? this.experiment.printed : [],
    };
    if (unit !== null && !scene.parts.shares[unit]) scene.unit = null;
    this.scene = scene;
    this.pictures.draw(scene);
    this.chooser.show(scene.parts, scene.unit);
    showNumbers(reading, theirs, this.noBand);
    this.transport(at.step);
    if (!running) describe(scene, reading);
  }

  private transport(step: number): void {
    const { timeline, running } = this.trainer;
    const scrub = byId<HTMLInputElement>("scrub");
    scrub.max = String(timeline.steps);
    if (document.activeElement !== scrub || this.following) scrub.value = String(step);
    scrub.setAttribute("aria-valuetext", `after ${steps(step)} of ${timeline.steps} trained`);
    byId("at").textContent = String(step);
    byId("play").textContent = running ? "Pause" : "Play";
  }

  private async copied(text: string): Promise<void> {
    this.say(
      (await copy(text)) ? "Copied." : "Copying is not allowed here: select the text instead.",
    );
  }

  private say(text: string): void {
    byId("status").textContent = text;
  }

  private complain(message: string | null): void {
    const line = byId("problem");
    line.textContent = message ?? "";
    line.hidden = message === null;
  }
}

const page = new Page();
/** For the console: what has been trained. */
Object.assign(window, {
  playground: {
    losses: () => [...page.trainer.timeline.losses.subarray(0, page.trainer.timeline.steps)],
    weights: () => [...page.trainer.timeline.nearest(Infinity).parameters],
    rows: () => ({ x: [...(page.trainer.rows?.x ?? [])], y: [...(page.trainer.rows?.y ?? [])] }),
    running: () => page.trainer.running,
    seeds: () => page.hundred.replicas.map(({ seed, final, dead }) => ({ seed, final, dead })),
  },
});
