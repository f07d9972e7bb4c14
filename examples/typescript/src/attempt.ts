import { create, MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";

import { LeasedTask, TaskOutcomeSchema } from "./gen/zart/v1/dispatch_service_pb.js";

export type Ending = NonNullable<MessageInitShape<typeof TaskOutcomeSchema>["outcome"]>;

// Says when to run the step again, as a service that is busy does; else that is after its backoff.
export class RetryLater extends Error {
  override name = "RetryLater";

  constructor(
    message: string,
    readonly seconds: number,
  ) {
    super(message);
  }
}

const failed = (type: string, message: string, retryable: boolean): Ending => ({
  case: "failed",
  value: { error: { type, message }, retryable },
});

// The outcome of a handler that threw: repeated after the backoff, or when the error says.
export const threw = (thrown: unknown): Ending => {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const { name: type, message } = error;
  if (!(error instanceof RetryLater)) return failed(type, message, true);
  const retryAfter = durationFromMs(error.seconds * 1000);
  return { case: "failed", value: { error: { type, message }, retryable: true, retryAfter } };
};

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

  // Take another outcome than the one that the server rejected. What an error says of its repeat
  // stands: only when that is to be, the server may not take. A result that it cannot store is lost.
  rejected(why: string): void {
    const told = this.ending?.case === "failed" ? this.ending.value : undefined;
    if (told?.retryAfter !== undefined) {
      this.ending = { case: "failed", value: { ...told, retryAfter: undefined } };
    } else {
      this.ending = failed("OutcomeRejected", why, told?.retryable ?? false);
    }
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
