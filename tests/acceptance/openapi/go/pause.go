// Pauses steps by what openapi-generator made, and prints the rule's id: pause URL
package main

import (
	"context"
	"fmt"
	"os"

	openapi "github.com/GIT_USER_ID/GIT_REPO_ID"
)

func main() {
	configuration := openapi.NewConfiguration()
	configuration.Servers = openapi.ServerConfigurations{{URL: os.Args[1]}}
	request := openapi.NewPauseRequest()
	request.SetTaskName("order")
	request.SetStepPattern("charge-*")
	request.SetReason("by a generated client")
	admin := openapi.NewAPIClient(configuration).AdminServiceAPI
	answer, _, err := admin.AdminServicePause(context.Background()).PauseRequest(*request).Execute()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(answer.Rule.GetRuleId())
}
