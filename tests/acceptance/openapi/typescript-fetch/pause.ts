// Pauses steps by what openapi-generator made, and prints the rule's id: pause URL
import { AdminServiceApi, Configuration } from "./index";

declare const process: { argv: string[] };

async function pause(basePath: string): Promise<void> {
  const admin = new AdminServiceApi(new Configuration({ basePath }));
  // Others that callers rely on, by these names.
  void [
    admin.adminServiceResume,
    admin.adminServiceResumeByRuleId,
    admin.adminServiceRestart,
    admin.adminServiceRerun,
    admin.adminServiceRetryStep,
  ];
  const answer = await admin.adminServicePause({
    pauseRequest: {
      taskName: "order",
      stepPattern: "charge-*",
      reason: "by a generated client",
    },
  });
  console.log(answer.rule?.ruleId);
}

void pause(process.argv[2] ?? "");
