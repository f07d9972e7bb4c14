// Starts an execution and runs its two steps, knowing nothing but the protos.
"use strict";

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const address = process.argv[2];
const definition = loader.loadSync(
  ["zart/v1/execution_service.proto", "zart/v1/dispatch_service.proto"],
  // A lease_token is an int64: as a string it stays exact.
  { includeDirs: ["protos"], longs: String, enums: String, keepCase: true },
);
const { ExecutionService, DispatchService } = grpc.loadPackageDefinition(definition).zart.v1;
const credentials = grpc.credentials.createInsecure();
const executions = new ExecutionService(address, credentials);
const dispatch = new DispatchService(address, credentials);

const call = (service, method, request) =>
  new Promise((resolve, reject) =>
    service[method](request, (error, response) => (error ? reject(error) : resolve(response))),
  );

const handlers = {
  "read-number": (task) => ({ n: JSON.parse(task.payload_json).n }),
  double: (task) => ({ doubled: JSON.parse(task.upstream_json["read-number"]).n * 2 }),
};

async function main() {
  await call(executions, "StartExecution", {
    execution_id: "from-node",
    task_name: "node",
    payload_json: '{"n": 21}',
    steps: [
      { step_name: "read-number" },
      { step_name: "double", depends_on: ["read-number"] },
    ],
    triggered_by: "node",
  });
  let result;
  for (let done = 0; done < 2; ) {
    const { tasks } = await call(dispatch, "LeaseTasks", {
      dispatcher_id: "node",
      task_names: ["node"],
      handlers: Object.keys(handlers),
      max_tasks: 10,
      wait: { seconds: 10 },
    });
    const outcomes = tasks.map((task) => {
      result = JSON.stringify(handlers[task.handler](task));
      return {
        task_id: task.task_id,
        lease_token: task.lease_token,
        completed: { result_json: result },
      };
    });
    const { results } = await call(dispatch, "ReportTasks", { dispatcher_id: "node", outcomes });
    for (const { status } of results) {
      if (status !== "REPORT_STATUS_RECORDED") throw new Error(status);
      done += 1;
    }
  }
  console.log(result);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
