// A caller and a dispatcher that know nothing of zart but its protos.
//
//   node dist/main.js dispatch ADDRESS            runs the steps of "order-typescript" until SIGTERM
//   node dist/main.js start ADDRESS ID PAYLOAD    starts an execution and prints the result of its run
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { Dispatcher } from "./dispatcher.js";
import { DispatchService } from "./gen/zart/v1/dispatch_service_pb.js";
import { RunStatus } from "./gen/zart/v1/execution_pb.js";
import { ExecutionService } from "./gen/zart/v1/execution_service_pb.js";
import { definition, handlers, TASK } from "./handlers.js";

function transport(address: string) {
  return createGrpcTransport({
    baseUrl: `http://${address}`,
    readMaxBytes: 16 * 1024 * 1024,
    pingIntervalMs: 3_000, // a server that is gone without a word is noticed
    pingTimeoutMs: 3_000,
    defaultTimeoutMs: 10_000,
  });
}

async function dispatch(address: string): Promise<void> {
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.once(name, () => stop.abort());
  }
  const client = createClient(DispatchService, transport(address));
  const dispatcher = new Dispatcher(client, TASK, handlers);
  await client.registerTask({ definition });
  await dispatcher.run(stop.signal);
}

async function start(address: string, executionId: string, payload: string): Promise<string> {
  const executions = createClient(ExecutionService, transport(address));
  await executions.startExecution({
    executionId,
    taskName: TASK,
    payloadKind: { case: "payloadJson", value: payload },
    triggeredBy: "the example in TypeScript",
    requestId: `start-${executionId}`, // a repeat starts nothing
  });
  for (;;) {
    try {
      for await (const told of executions.watchExecution({ executionId }, { timeoutMs: 60_000 })) {
        const run = told.run;
        if (run?.status === RunStatus.COMPLETED) {
          return run.resultJson ?? "null";
        }
        if (run?.status === RunStatus.FAILED || run?.status === RunStatus.CANCELLED) {
          throw new Error(`${run.runId} ended ${RunStatus[run.status]}: ${run.error}`);
        }
      }
    } catch (error) {
      // A watch that breaks is simply taken up again.
      if (ConnectError.from(error).code !== Code.Unavailable) {
        throw error;
      }
    }
  }
}

const [command, address = "127.0.0.1:50051", id = "", payload = "null"] = process.argv.slice(2);
if (command === "dispatch") {
  await dispatch(address);
} else if (command === "start") {
  console.log(await start(address, id, payload));
} else {
  throw new Error("usage: main.js dispatch ADDRESS | main.js start ADDRESS ID PAYLOAD");
}
process.exit(0);
