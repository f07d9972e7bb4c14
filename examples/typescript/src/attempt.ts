import { inspect } from "node:util";

import { create, MessageInitShape } from "@bufbuild/protobuf";
import { Duration, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";

import { LeasedTask, TaskOutcomeSchema } from "./gen/zart/v1/dispatch_service_pb.js";

export type Ending = NonNullable<MessageInitShape<typeof TaskOutcomeSchema>["outcome"]>;

const RESULT = 1024 * 1024; // bytes of JSON: more is not stored, and much more fits into no message
const MESSAGE = 12_000; // characters of an error: the server keeps 16 KiB of it
const LONGEST_TIMER = 2 ** 31 - 1; // ms: a longer one would end at once
const REJECTED = "OutcomeRejected";

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

const failed = (
  type: string,
  message: string,
  retryable: boolean,
  retryAfter?: Duration,
): Ending => ({
  case: "failed",
  value: { error: { type, message: message.slice(0, MESSAGE) }, retryable, retryAfter },
});

// What was thrown, in words. To look at it may throw in turn, and its message need not be a text.
const inWords = (thrown: unknown): { type: string; message: string } => {
  try {
    const error = thrown instanceof Error ? thrown : new Error(inspect(thrown));
    return { type: String(error.name), message: String(error.message ?? "") };
  } catch {
    return { type: "Error", message: "what was thrown cannot be told" };
  }
};

// The outcome of a handler that returned. What cannot be stored is a failure, and no repeat follows:
// the step has had its effect.
export const returned = (result: unknown): Ending => {
  let resultJson: string;
  try {
    resultJson = JSON.stringify(result) ?? "null";
  } catch (error) {
    return failed("ResultNotJson", `the result is not JSON: ${inWords(error).message}`, false);
  }
  const bytes = Buffer.byteLength(resultJson);
  if (bytes > RESULT) {
    const why = `the result has ${bytes} bytes of JSON, at most ${RESULT} are kept`;
    return failed("ResultTooLarge", why, false);
  }
  return { case: "completed", value: { resultJson } };
};

// The outcome of a handler that threw: repeated after the backoff, or when the error says.
export const threw = (thrown: unknown): Ending => {
  const { type, message } = inWords(thrown);
  const delay = thrown instanceof RetryLater ? Math.round(thrown.seconds * 1000) : NaN;
  const retryAfter = Number.isSafeInteger(delay) ? durationFromMs(delay) : undefined;
  return failed(type, message, true, retryAfter);
};

// A leased task in hand, until its outcome is recorded.
export class Attempt {
  expires = 0; // by our own clock: that of the server is another
  ending: Ending | undefined; // its first outcome, which waits to be recorded
  isBegun = false; // its handler was called
  isTimedOut = false;
  isLost = false; // its lease, before it had an outcome
  isRefused = false; // its lease, by the server: to report it again and again is in vain
  isApart = false; // its call failed with it alone: it is sent in calls of its own
  private extendAt = 0; // a third of the lease has passed
  private readonly beginBy: number; // the end of its first lease
  private readonly stopping = new AbortController();
  private timer: NodeJS.Timeout | undefined;

  // asked: when the call began that leased it. The answer may have been looked at late.
  constructor(
    readonly task: LeasedTask,
    asked: number,
  ) {
    this.extended(task.leaseTtl, asked);
    this.beginBy = this.expires;
  }

  get signal(): AbortSignal {
    return this.stopping.signal;
  }

  get key() {
    return { taskId: this.task.taskId, leaseToken: this.task.leaseToken };
  }

  get isDue(): boolean {
    const isWanted = this.ending === undefined ? !this.isLost : !this.isRefused;
    return isWanted && this.extendAt <= performance.now();
  }

  // Note the end of the lease, counted from before the call: never later than it is.
  extended(ttl: LeasedTask["leaseTtl"], asked: number): void {
    this.expires = asked + milliseconds(ttl);
    this.extendAt = asked + milliseconds(ttl) / 3;
  }

  // Begin the handler's time, some of which has gone if its results took longer than a lease to get.
  begin(): void {
    const gone = Math.max(performance.now() - this.beginBy, 0);
    const left = Math.min(milliseconds(this.task.timeout) - gone, LONGEST_TIMER);
    this.isBegun = true;
    this.timer = setTimeout(() => {
      this.isTimedOut = true;
      this.stop();
    }, left);
  }

  // The outcome of one that nobody waits for any more. Only one that has not begun had no effect.
  unfinished(): Ending {
    if (this.isBegun) return { case: "lost", value: {} };
    return { case: "released", value: { notBegun: true } };
  }

  outcome() {
    return create(TaskOutcomeSchema, { ...this.key, outcome: this.ending });
  }

  // Take another outcome than the one that the server rejected, if there is one. What an error says
  // of its repeat stands: only when that is to be, the server may not take. A result that it cannot
  // store is lost.
  rejected(why: string): boolean {
    const told = this.ending?.case === "failed" ? this.ending.value : undefined;
    if (told?.error?.type === REJECTED) return false;
    if (told?.retryAfter !== undefined) {
      this.ending = { case: "failed", value: { ...told, retryAfter: undefined } };
    } else {
      this.ending = failed(REJECTED, why, told?.retryable ?? false);
    }
    return true;
  }

  // Stop the handler: nobody wants to know any more.
  stop(): void {
    clearTimeout(this.timer);
    this.stopping.abort();
  }

  // Stop it where its lease is lost. Of one that has ended the server judges the outcome.
  lose(why: string): void {
    if (this.ending === undefined && !this.isLost) {
      console.error(`${this.task.runId}/${this.task.stepName}: the lease is lost, ${why}`);
      this.isLost = true;
      this.stop();
    }
  }
}

const milliseconds = (duration: LeasedTask["leaseTtl"]) =>
  duration === undefined ? 0 : durationMs(duration);
