import { create, MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";

import { LeasedTask, TaskOutcomeSchema } from "./gen/zart/v1/dispatch_service_pb.js";

export type Ending = NonNullable<MessageInitShape<typeof TaskOutcomeSchema>["outcome"]>;

export const failed = (type: string, message: string, retryable: boolean): Ending => ({
  case: "failed",
  value: { error: { type, message }, retryable },
});

// A leased task in hand, until its outcome is recorded.
export class Attempt {
  expires: number; // by our own clock: that of the server is another
  ending: Ending | undefined; // its first outcome, which waits to be recorded
  isTimedOut = false;
  private readonly stopping = new AbortController();
  private readonly timer: NodeJS.Timeout;

  constructor(readonly task: LeasedTask) {
    this.expires = performance.now() + milliseconds(task.leaseTtl);
    this.timer = setTimeout(() => {
      this.isTimedOut = true;
      this.stop();
    }, milliseconds(task.timeout));
  }

  get signal(): AbortSignal {
    return this.stopping.signal;
  }

  get key() {
    return { taskId: this.task.taskId, leaseToken: this.task.leaseToken };
  }

  outcome() {
    return create(TaskOutcomeSchema, { ...this.key, outcome: this.ending });
  }

  // Stop the handler: nobody wants to know any more.
  stop(): void {
    clearTimeout(this.timer);
    this.stopping.abort();
  }

  // Stop it where its lease is lost. Of one that has ended the server judges the outcome.
  lose(why: string): void {
    if (this.ending === undefined) {
      console.error(`${this.task.runId}/${this.task.stepName}: the lease is lost, ${why}`);
      this.stop();
    }
  }
}

export const milliseconds = (duration: LeasedTask["leaseTtl"]) =>
  duration === undefined ? 0 : durationMs(duration);
