import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Client } from "@connectrpc/connect";

import { Attempt, Ending, milliseconds, threw } from "./attempt.js";
import { DispatchService, LeasedTask, ReportStatus } from "./gen/zart/v1/dispatch_service_pb.js";

const SLOTS = 16; // handlers at work at once
const LEASE = 6_000; // ms, extended while its handler is at work
const POLL = 20_000; // how long the server may wait for the first task
const PATIENCE = 10_000; // for an answer, on top
const GRACE = 1_000; // for handlers to end when the dispatcher stops
const MOST = 1_000; // leases or outcomes of one call
const BACKOFF = 500;

// Runs a step. What it returns is written as JSON; after an error it is repeated. It should end
// with its signal.
export type Handler = (task: LeasedTask, signal: AbortSignal) => unknown;

// Leases tasks, runs their handlers, keeps their leases, and reports their outcomes. A handler that
// blocks the event loop blocks all of that: such work belongs into a worker thread.
export class Dispatcher {
  private readonly dispatcherId = `${hostname()}/${process.pid}`; // for people, fences nothing
  private readonly inHand = new Set<Attempt>();
  private isReporting = false;

  constructor(
    private readonly server: Client<typeof DispatchService>,
    private readonly task: string,
    private readonly handlers: Record<string, Handler>,
  ) {}

  // Works until stop, and then drains: leases nothing more, waits for handlers, tells of those that
  // do not end that their attempts are lost, and returns when all of that is recorded.
  async run(stop: AbortSignal): Promise<void> {
    const keeping = setInterval(() => void this.keepLeases(), LEASE / 3);
    while (!stop.aborted) {
      const free = SLOTS - this.inHand.size;
      await (free > 0 ? this.leaseTasks(free, stop) : pause(10));
    }
    await this.idle(GRACE);
    for (const attempt of this.inHand) {
      this.end(attempt, { case: "lost", value: {} });
    }
    await this.idle(PATIENCE);
    clearInterval(keeping);
    if (this.inHand.size > 0) {
      throw new Error(`${this.inHand.size} outcomes could not be reported: their leases expire`);
    }
  }

  // A failed call is never repeated as it is: what it may have leased is nobody's until that expires.
  private async leaseTasks(maxTasks: number, stop: AbortSignal): Promise<void> {
    try {
      const leased = await this.server.leaseTasks(
        {
          dispatcherId: this.dispatcherId,
          taskNames: [this.task],
          handlers: Object.keys(this.handlers),
          maxTasks,
          wait: durationFromMs(POLL),
          leaseDuration: durationFromMs(LEASE),
        },
        { timeoutMs: POLL + PATIENCE, signal: stop }, // cancelled, it gives back what it leased
      );
      for (const task of leased.tasks) {
        const attempt = new Attempt(task);
        this.inHand.add(attempt);
        void this.begin(attempt);
      }
    } catch (error) {
      if (!stop.aborted) {
        console.error(`nothing is leased: ${error}`);
        await pause(BACKOFF);
      }
    }
  }

  private async begin(attempt: Attempt): Promise<void> {
    const { task, signal } = attempt;
    try {
      for (let at = 0; at < task.upstreamOmitted.length; at += 8) {
        const stepNames = task.upstreamOmitted.slice(at, at + 8); // 8 of 1 MiB fit in a message
        const answer = await this.server.getStepResults({ ...attempt.key, stepNames }, { signal });
        Object.assign(task.upstreamJson, answer.results);
      }
      const result = await this.handlers[task.handler]?.(task, signal);
      this.end(attempt, {
        case: "completed",
        value: { resultJson: JSON.stringify(result) ?? "null" },
      });
    } catch (error) {
      if (attempt.isTimedOut) {
        this.end(attempt, { case: "timedOut", value: {} });
      } else if (signal.aborted) {
        if (attempt.ending === undefined) this.inHand.delete(attempt); // it is lost
      } else {
        this.end(attempt, threw(error));
      }
    }
  }

  // Has an outcome reported: the first of each attempt.
  private end(attempt: Attempt, ending: Ending): void {
    if (attempt.ending !== undefined || !this.inHand.has(attempt)) return;
    attempt.ending = ending;
    attempt.stop();
    if (!this.isReporting) {
      this.isReporting = true;
      void this.report();
    }
  }

  // Reports what has ended, as much at once as there is, until each outcome has a result. The same
  // is sent again with the same token, which makes a repeat safe.
  private async report(): Promise<void> {
    const ended = () => [...this.inHand].filter((each) => each.ending !== undefined).slice(0, MOST);
    for (let some = ended(); some.length > 0; some = ended()) {
      const outcomes = some.map((attempt) => attempt.outcome());
      try {
        const answer = await this.server.reportTasks({ dispatcherId: this.dispatcherId, outcomes });
        if (answer.results.length !== some.length) throw new Error("some were not answered for");
        answer.results.forEach((result, index) => this.conclude(some[index]!, result));
      } catch (error) {
        console.error(`outcomes wait: ${error}`);
        await pause(BACKOFF);
      }
    }
    this.isReporting = false;
  }

  private conclude(attempt: Attempt, result: { status: ReportStatus; error: string }): void {
    if (result.status === ReportStatus.REJECTED) {
      attempt.rejected(result.error); // the lease stands
      return;
    }
    if (result.status === ReportStatus.LEASE_LOST) {
      console.error(`${attempt.task.taskId}: the lease was lost, its outcome is dropped`);
    }
    this.inHand.delete(attempt);
  }

  // Extends every lease in hand, that of an outcome which waits to be recorded, too.
  private async keepLeases(): Promise<void> {
    const all = [...this.inHand];
    for (let at = 0; at < all.length; at += MOST) {
      const some = all.slice(at, at + MOST);
      const asked = performance.now(); // so that it never ends later, as we see it, than it does
      try {
        const leases = some.map((attempt) => attempt.key);
        const answer = await this.server.extendLeases(
          { dispatcherId: this.dispatcherId, leases },
          { timeoutMs: LEASE / 3 },
        );
        answer.results.forEach((result, index) => {
          if (result.extended) some[index]!.expires = asked + milliseconds(result.leaseTtl);
          else some[index]!.lose("the server gave it up");
        });
      } catch (error) {
        console.error(`leases are not extended: ${error}`);
      }
    }
    for (const attempt of this.inHand) {
      if (attempt.expires < performance.now()) {
        attempt.lose("no server could be reached to extend it");
      }
    }
  }

  // Waits until nothing is in hand, but no longer than this.
  private async idle(limit: number): Promise<void> {
    const deadline = performance.now() + limit;
    while (this.inHand.size > 0 && performance.now() < deadline) await pause(10);
  }
}
