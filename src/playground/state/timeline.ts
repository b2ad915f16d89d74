// What has been trained so far: the loss of every step, and the weights at some of them.
import type { Reply, Snapshot } from "../worker/messages";

type Progress = Extract<Reply, { kind: "progress" }>;

export class Timeline {
  /** losses[k]: after k steps, before the next update. */
  losses = new Float64Array(1024);
  /** Steps taken. */
  steps = 0;
  private snapshots: Snapshot[] = [];
  private head: Snapshot = { step: 0, parameters: new Float64Array(0) };

  add({ head, snapshots, stride, losses }: Progress): void {
    if (this.steps + losses.length > this.losses.length) {
      const longer = new Float64Array(2 * (this.steps + losses.length));
      longer.set(this.losses.subarray(0, this.steps));
      this.losses = longer;
    }
    this.losses.set(losses, this.steps);
    this.steps += losses.length;
    this.snapshots.push(...snapshots);
    if (snapshots.length) this.snapshots = this.snapshots.filter(({ step }) => step % stride === 0);
    this.head = head;
  }

  /** The weights kept that are nearest to this step. */
  nearest(step: number): Snapshot {
    if (step >= this.head.step) return this.head;
    const distance = (snapshot: Snapshot): number => Math.abs(snapshot.step - step);
    return this.snapshots.reduce((a, b) => (distance(b) < distance(a) ? b : a), this.head);
  }
}
