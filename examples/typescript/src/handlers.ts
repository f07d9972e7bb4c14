import { fail } from "node:assert";
import { setTimeout } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { RetryLater } from "./attempt.js";
import { Handler } from "./dispatcher.js";
import { LeasedTask } from "./gen/zart/v1/dispatch_service_pb.js";
import { IfInDoubt } from "./gen/zart/v1/in_doubt_pb.js";
import { TaskDefinitionSchema } from "./gen/zart/v1/task_definition_pb.js";

export const TASK = "order-typescript";

interface Order {
  number: number;
  millis: number; // how long the card service takes
  busy?: number; // for how many seconds who is asked first wants to be left alone
  // What is wrong with the first answer: it is "large", "not JSON", "missing", or an error "untold".
  answer?: string;
}

// The graph: what runs after what, and how it is repeated.
export const definition = create(TaskDefinitionSchema, {
  taskName: TASK,
  steps: [
    { stepName: "look-up" },
    {
      stepName: "charge",
      dependsOn: ["look-up"],
      timeout: durationFromMs(60_000),
      // It must not happen twice: where nobody knows, somebody has to find out.
      ifInDoubt: IfInDoubt.STOP,
      retryPolicy: { maxAttempts: 1 },
    },
    { stepName: "tell", dependsOn: ["look-up", "charge"] },
  ],
});

// Names what the step does. It is sent only where an operator corrected the input.
const idempotencyKey = (task: LeasedTask) =>
  task.idempotencyKey || `${task.runId}/${task.stepName}`;

const orderOf = (task: LeasedTask) => JSON.parse(task.payloadJson ?? "null") as Order;

class Untold extends Error {
  override name = "Untold";
  override message = undefined as never; // as is a field that nobody has set
}

const wrong = (answer: string): unknown => {
  if (answer === "untold") throw new Untold();
  if (answer === "large") return "x".repeat(20 * 1024 * 1024);
  return answer === "not JSON" ? 1n : fail("no answer");
};

// The code, by the names that steps call it by. What a handler waits for ends with its signal: its
// lease is lost, its time is up, or the dispatcher stops.
export const handlers: Record<string, Handler> = {
  "look-up": (task) => {
    const { number, busy, answer } = orderOf(task);
    if (busy && task.attempt === 1) throw new RetryLater("busy", busy);
    if (answer && task.attempt === 1) return wrong(answer);
    return { user: number * 2 };
  },
  charge: async (task, signal) => {
    const key = idempotencyKey(task); // for whoever charges: the same in every attempt
    await setTimeout(orderOf(task).millis, undefined, { signal });
    return { receipt: `of ${key}` };
  },
  tell: (task) =>
    Object.fromEntries(
      Object.entries(task.upstreamJson).map(([name, text]) => [name, JSON.parse(text) as unknown]),
    ),
};
