// Trains beside the page: one net as long as it is told to, or a list of seeds one after the other.
import { draw, rounded } from "../model/start";
import { Training } from "../model/training";
import { replica } from "./replica";
import type { Reply, Request, Snapshot } from "./messages";

const SLICE = 14; // milliseconds of training between two messages: about the display's rate
const SNAPSHOTS = 400;

let training: Training | null = null;
let id = 0;
let stride = 1;
let run: { until: number; perSecond: number | null; begun: number; from: number } | null = null;
let ticking = false;

const tell = (reply: Reply): void => postMessage(reply);
const channel = new MessageChannel(); // a tick without setTimeout's four milliseconds
channel.port1.onmessage = () => tick();
const now = (): number => performance.now();

onmessage = ({ data }: MessageEvent<Request>) => {
  try {
    answer(data);
  } catch (error) {
    tell({ kind: "failed", id, message: error instanceof Error ? error.message : String(error) });
  }
};

function answer(request: Request): void {
  if (request.kind === "begin") {
    ({ id } = request);
    run = null;
    stride = 1;
    const { problem, published } = request;
    const drawn = draw(problem);
    training = new Training(
      problem,
      published ? rounded(problem, { ...drawn, ...published }) : drawn,
    );
    tell({ kind: "begun", id, rows: training.start.rows });
    report([], [snapshot(training)], 0);
  } else if (request.kind === "run" && training) {
    run = {
      until: request.until,
      perSecond: request.perSecond,
      begun: now(),
      from: training.steps,
    };
    next();
  } else if (request.kind === "pause" && run) {
    run = null;
    report([], [], 0); // the last word: a report that runs may be under way
  } else if (request.kind === "seeds") {
    ({ id } = request);
    for (const seed of request.seeds) {
      tell({
        kind: "replica",
        id,
        replica: replica({ ...request.problem, seed }, request.x, request.steps),
      });
    }
  }
}

function next(): void {
  if (ticking || !run) return;
  ticking = true;
  if (run.perSecond === null) channel.port2.postMessage(null);
  else setTimeout(tick, SLICE);
}

/** Trains for one slice of time, reports, and asks for the next. */
function tick(): void {
  ticking = false;
  if (!run || !training) return;
  const started = now();
  const allowed =
    run.perSecond === null ? Infinity : run.from + ((started - run.begun) / 1000) * run.perSecond;
  const until = Math.min(run.until, Math.floor(allowed));
  const first = training.steps;
  const losses: number[] = [];
  const snapshots: Snapshot[] = [];
  let finite = true;
  while (finite && training.steps < until && (training.steps & 7 || now() - started < SLICE)) {
    const loss = training.step();
    losses.push(loss);
    finite = Number.isFinite(loss);
    if (training.steps % stride === 0) snapshots.push(snapshot(training));
    while (training.steps / stride > SNAPSHOTS) stride *= 2;
  }
  if (!finite || training.steps >= run.until) run = null;
  const seconds = (now() - started) / 1000;
  report(losses, snapshots, seconds > 0 ? (training.steps - first) / seconds : 0);
  next();
}

function report(losses: number[], snapshots: Snapshot[], perSecond: number): void {
  const head = snapshot(training as Training);
  const wanted = snapshots.filter(({ step }) => step % stride === 0);
  const running = run !== null;
  const trace = Float64Array.from(losses);
  tell({
    kind: "progress",
    id,
    head,
    snapshots: wanted,
    stride,
    losses: trace,
    running,
    perSecond,
  });
}

const snapshot = ({ steps, net }: Training): Snapshot => ({
  step: steps,
  parameters: net.parameters.slice(),
});
