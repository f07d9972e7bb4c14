import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Client } from "@connectrpc/connect";

import { Attempt, Ending, returned, threw } from "./attempt.js";
import { DispatchService, LeasedTask } from "./gen/zart/v1/dispatch_service_pb.js";
import { Reporter } from "./reporter.js";

const SLOTS = 16; // handlers at work at once
const LEASE = 6_000; // ms, extended while its handler is at work
const TICK = LEASE / 24; // from one look at the leases to the next
const POLL = LEASE / 3; // the server waits so long for a task: its lease counts from the call
const PATIENCE = 10_000; // for an answer, on top
const RESULTS_PATIENCE = 60_000; // for 8 MiB of results, over a narrow way too
const GRACE = 1_000; // for handlers to end when the dispatcher stops
const MOST = 1_000; // leases of one call
const BACKOFF = 500;

// Runs a step. What it returns is written as JSON; after an error it is repeated. It should end
// with its signal.
export type Handler = (task: LeasedTask, signal: AbortSignal) => unknown;

// Leases tasks, runs their handlers, keeps their leases, and reports their outcomes. A handler that
// blocks the event loop blocks all of that: such work belongs into a worker thread.
export class Dispatcher {
  private readonly dispatcherId = `${hostname()}/${process.pid}`; // for people, fences nothing
  private readonly inHand = new Set<Attempt>();
  private readonly reporter: Reporter;
  private isOver = false;

  constructor(
    private readonly server: Client<typeof DispatchService>,
    private readonly task: string,
    private readonly handlers: Record<string, Handler>,
  ) {
    this.reporter = new Reporter(server, this.dispatcherId, this.inHand);
  }

  // Works until stop, and then drains: leases nothing more, waits for handlers, tells of those that
  // do not end that their attempts are lost, and returns when all of that is recorded.
  async run(stop: AbortSignal): Promise<void> {
    void this.keepLeases();
    const looking = setInterval(() => this.lookForWhatIsOver(), TICK); // also while a call hangs
    while (!stop.aborted) {
      const free = SLOTS - this.inHand.size;
      await (free > 0 ? this.leaseTasks(free, stop) : pause(10));
    }
    await this.idle(GRACE);
    for (const attempt of this.inHand) {
      this.end(attempt, attempt.unfinished());
    }
    await this.idle(PATIENCE);
    this.isOver = true;
    clearInterval(looking);
    if (this.inHand.size > 0) {
      throw new Error(`${this.inHand.size} outcomes could not be reported: their leases expire`);
    }
  }

  // A failed call is never repeated as it is: what it may have leased is nobody's until that expires.
  private async leaseTasks(maxTasks: number, stop: AbortSignal): Promise<void> {
    const asked = performance.now(); // a process that was frozen looks at an old answer
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
        const attempt = new Attempt(task, asked);
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

  // Runs a step, unless its lease is over before: then it is given back.
  private async begin(attempt: Attempt): Promise<void> {
    try {
      await this.fetchResults(attempt);
      this.loseWhatIsOver(attempt);
      if (attempt.ending === undefined && !attempt.isLost) {
        const ending = await this.handle(attempt);
        if (ending !== undefined) this.end(attempt, ending);
      }
    } catch {
      // Nothing that is known of: but what a promise throws that nobody waits for ends the process.
      this.end(attempt, threw(new Error("it ended, and nobody knows how")));
    }
    if (attempt.ending === undefined) this.inHand.delete(attempt); // nobody wants to know
  }

  // Asks for the results that were too large for LeaseTasks, until they are there or it is stopped.
  private async fetchResults({ task, key, signal }: Attempt): Promise<void> {
    while (task.upstreamOmitted.length > 0 && !signal.aborted) {
      const stepNames = task.upstreamOmitted.slice(0, 8); // 8 of 1 MiB fit into a message
      try {
        const { results } = await this.server.getStepResults(
          { ...key, stepNames },
          { signal, timeoutMs: RESULTS_PATIENCE },
        );
        if (Object.keys(results).length < stepNames.length) throw new Error("some are missing");
        Object.assign(task.upstreamJson, results);
        task.upstreamOmitted = task.upstreamOmitted.slice(8);
      } catch (error) {
        console.error(`results that ${task.stepName} needs are not given: ${error}`);
        await pause(BACKOFF);
      }
    }
  }

  // Calls the handler, and returns its outcome: none where its lease is lost.
  private async handle(attempt: Attempt): Promise<Ending | undefined> {
    const { task, signal } = attempt;
    let result: unknown;
    attempt.begin();
    try {
      result = await this.handlers[task.handler]?.(task, signal);
    } catch (error) {
      if (attempt.isTimedOut) return { case: "timedOut", value: {} };
      return attempt.isLost ? undefined : threw(error);
    }
    return returned(result);
  }

  // Has an outcome reported: the first of each attempt.
  private end(attempt: Attempt, ending: Ending): void {
    if (attempt.ending !== undefined || !this.inHand.has(attempt)) return;
    attempt.ending = ending;
    attempt.stop();
    this.reporter.look();
  }

  // Extends each lease in hand when a third of it has passed, that of an outcome which waits to be
  // recorded, too. What was not extended is due at the next look.
  private async keepLeases(): Promise<void> {
    while (!this.isOver) {
      await pause(TICK);
      const due = [...this.inHand].filter((attempt) => attempt.isDue).slice(0, MOST);
      if (due.length > 0) await this.extend(due);
    }
  }

  private lookForWhatIsOver(): void {
    for (const attempt of this.inHand) this.loseWhatIsOver(attempt);
  }

  private async extend(due: Attempt[]): Promise<void> {
    const asked = performance.now(); // so that it never ends later, as we see it, than it does
    try {
      const leases = due.map((attempt) => attempt.key);
      const answer = await this.server.extendLeases(
        { dispatcherId: this.dispatcherId, leases },
        { timeoutMs: LEASE / 4 }, // two calls may fail, and the third one is in time
      );
      if (answer.results.length !== due.length) throw new Error("some were not answered for");
      answer.results.forEach((result, index) => {
        const attempt = due[index]!;
        attempt.isRefused = !result.extended;
        if (result.extended) attempt.extended(result.leaseTtl, asked);
        else attempt.lose("the server gave it up");
      });
    } catch (error) {
      console.error(`leases are not extended: ${error}`);
    }
  }

  // Stops a handler whose lease has ended; what has not begun by then is given back.
  private loseWhatIsOver(attempt: Attempt): void {
    if (performance.now() < attempt.expires) return;
    if (attempt.isBegun) attempt.lose("no server could be reached to extend it");
    else this.end(attempt, attempt.unfinished());
  }

  // Waits until nothing is in hand, but no longer than this.
  private async idle(limit: number): Promise<void> {
    const deadline = performance.now() + limit;
    while (this.inHand.size > 0 && performance.now() < deadline) await pause(10);
  }
}
