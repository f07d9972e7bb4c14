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
const APART = 1_000; // ms from one call to the next with what is sent apart

// Reports what has ended, as much at once as there is, until each outcome has a result. The same is
// sent again with the same token, which makes a repeat safe. After a call that failed half as many
// are sent, down to one, which may be the reason: it is sent apart then, in calls of its own beside
// the others', and delays none of them, however long its calls hang.
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
    for (let some = this.some(); some.length > 0; some = this.some()) {
      if (await this.send(some)) {
        this.most = Math.min(2 * this.most, MOST);
      } else {
        if (some.length === 1) void this.sendApart(some[0]!);
        this.most = Math.max(1, Math.floor(some.length / 2));
        await pause(BACKOFF);
      }
    }
    this.isReporting = false;
  }

  private async sendApart(one: Attempt): Promise<void> {
    one.isApart = true;
    while (this.inHand.has(one)) {
      await pause(APART);
      const isAnswered = await this.send([one]);
      if (!isAnswered && one.isRefused) this.drop(one); // its lease is over, too
    }
  }

  // What goes into one call.
  private some(): Attempt[] {
    const ended = [...this.inHand].filter((each) => each.ending !== undefined && !each.isApart);
    const some: Attempt[] = [];
    let bytes = 0;
    for (const attempt of ended.slice(0, this.most)) {
      bytes += toBinary(TaskOutcomeSchema, attempt.outcome()).length;
      if (bytes > BYTES && some.length > 0) break;
      some.push(attempt);
    }
    return some;
  }

  // Makes a call, and returns whether it was answered.
  private async send(some: Attempt[]): Promise<boolean> {
    try {
      const outcomes = some.map((attempt) => attempt.outcome());
      const answer = await this.server.reportTasks(
        { dispatcherId: this.dispatcherId, outcomes },
        { timeoutMs: PATIENCE },
      );
      if (answer.results.length !== some.length) throw new Error("some were not answered for");
      answer.results.forEach((result, index) => this.conclude(some[index]!, result));
      return true;
    } catch (error) {
      console.error(`outcomes wait: ${error}`);
      return false;
    }
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
