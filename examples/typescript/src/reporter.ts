import { setTimeout as pause } from "node:timers/promises";

import { toBinary } from "@bufbuild/protobuf";
import { Client } from "@connectrpc/connect";

import { Attempt } from "./attempt.js";
import {
  DispatchService,
  ReportStatus,
  TaskOutcomeSchema,
} from "./gen/zart/v1/dispatch_service_pb.js";

const MOST = 1_000; // outcomes of one call
const BYTES = 8 * 1024 * 1024; // of one call: a message has 16 MiB at most
const PATIENCE = 30_000; // ms for an answer: megabytes take long over a narrow way
const BACKOFF = 500;
const APART = 1_000; // ms that an outcome waits whose call failed with it alone

// Reports what has ended, as much at once as there is, until each outcome has a result. The same is
// sent again with the same token, which makes a repeat safe. After a call that failed half as many
// are sent, down to one, which may be the reason: it waits apart then, and delays no other.
export class Reporter {
  private most = MOST;
  private isReporting = false;

  constructor(
    private readonly server: Client<typeof DispatchService>,
    private readonly dispatcherId: string,
    private readonly inHand: Set<Attempt>,
  ) {}

  // To be called whenever one has ended.
  look(): void {
    if (!this.isReporting) {
      this.isReporting = true;
      void this.report();
    }
  }

  private async report(): Promise<void> {
    for (let ended = this.ended(); ended.length > 0; ended = this.ended()) {
      const some = this.some(ended.filter((each) => each.waitsUntil <= performance.now()));
      await (some.length > 0 ? this.send(some) : pause(10));
    }
    this.isReporting = false;
  }

  private ended(): Attempt[] {
    return [...this.inHand].filter((each) => each.ending !== undefined);
  }

  // What goes into one call; what has waited apart goes alone.
  private some(ended: Attempt[]): Attempt[] {
    const apart = ended.find((each) => each.waitsUntil > -Infinity);
    if (apart !== undefined) return [apart];
    const some: Attempt[] = [];
    let bytes = 0;
    for (const attempt of ended.slice(0, this.most)) {
      bytes += toBinary(TaskOutcomeSchema, attempt.outcome()).length;
      if (bytes > BYTES && some.length > 0) break;
      some.push(attempt);
    }
    return some;
  }

  private async send(some: Attempt[]): Promise<void> {
    try {
      const outcomes = some.map((attempt) => attempt.outcome());
      const answer = await this.server.reportTasks(
        { dispatcherId: this.dispatcherId, outcomes },
        { timeoutMs: PATIENCE },
      );
      if (answer.results.length !== some.length) throw new Error("some were not answered for");
      answer.results.forEach((result, index) => this.conclude(some[index]!, result));
      this.most = Math.min(2 * this.most, MOST);
    } catch (error) {
      console.error(`outcomes wait: ${error}`);
      await this.putBack(some);
    }
  }

  private async putBack(some: Attempt[]): Promise<void> {
    const one = some[0]!;
    const wasApart = one.waitsUntil > -Infinity;
    if (some.length === 1) one.waitsUntil = performance.now() + APART;
    if (wasApart) {
      if (one.isRefused) this.drop(one); // its lease is over, too
      return;
    }
    this.most = Math.max(1, Math.floor(some.length / 2));
    await pause(BACKOFF);
  }

  private conclude(attempt: Attempt, result: { status: ReportStatus; error: string }): void {
    if (result.status === ReportStatus.LEASE_LOST) {
      this.drop(attempt);
    } else if (result.status !== ReportStatus.REJECTED || !attempt.rejected(result.error)) {
      this.inHand.delete(attempt);
    } // else there is another outcome to report: the lease stands
  }

  private drop(attempt: Attempt): void {
    console.error(`${attempt.task.taskId}: the lease was lost, its outcome is dropped`);
    this.inHand.delete(attempt);
  }
}
