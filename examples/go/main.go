// A caller and a dispatcher that know nothing of zart but its protos.
//
//	order dispatch ADDRESS            runs the steps of the task "order-go" until SIGTERM
//	order start ADDRESS ID PAYLOAD    starts an execution and prints the result of its run
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	zartv1 "zart/v1"
)

const task = "order-go"

// The requests that may be repeated as they are: all but LeaseTasks, whose lost answers expire.
const serviceConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [
    {"name": [{"service": "zart.v1.DispatchService", "method": "LeaseTasks"}]},
    {"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s",
      "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}
  ]
}`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: order dispatch ADDRESS | order start ADDRESS ID PAYLOAD")
	}
	channel, err := grpc.NewClient(arguments[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return err
	}
	defer channel.Close()
	switch {
	case arguments[0] == "dispatch":
		stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer cancel()
		dispatcher := NewDispatcher(zartv1.NewDispatchServiceClient(channel), handlers)
		if err := dispatcher.Register(stop, definition()); err != nil {
			return err
		}
		return dispatcher.Run(stop)
	case arguments[0] == "start" && len(arguments) == 4:
		result, err := start(zartv1.NewExecutionServiceClient(channel), arguments[2], arguments[3])
		if err == nil {
			fmt.Println(result)
		}
		return err
	}
	return fmt.Errorf("unknown: %v", arguments)
}

// start begins an execution and waits for the end of its run, whose result it returns.
func start(executions zartv1.ExecutionServiceClient, id, payload string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := executions.StartExecution(ctx, &zartv1.StartExecutionRequest{
		ExecutionId: id,
		TaskName:    task,
		PayloadKind: &zartv1.StartExecutionRequest_PayloadJson{PayloadJson: payload},
		TriggeredBy: "the example in Go",
		RequestId:   "start-" + id, // a repeat starts nothing
	})
	if err != nil {
		return "", err
	}
	for {
		run, err := watch(ctx, executions, id)
		if err != nil {
			return "", err
		}
		switch run.GetStatus() {
		case zartv1.RunStatus_RUN_STATUS_COMPLETED:
			return run.GetResultJson(), nil
		case zartv1.RunStatus_RUN_STATUS_FAILED, zartv1.RunStatus_RUN_STATUS_CANCELLED:
			return "", fmt.Errorf("%s ended %s: %s", run.GetRunId(), run.GetStatus(), run.GetError())
		}
	}
}

// watch returns the run as the stream told it last: a watch that breaks is simply taken up again.
func watch(
	ctx context.Context, executions zartv1.ExecutionServiceClient, id string,
) (*zartv1.Run, error) {
	var last *zartv1.Run
	stream, err := executions.WatchExecution(ctx, &zartv1.WatchExecutionRequest{ExecutionId: id})
	for err == nil {
		var told *zartv1.WatchExecutionResponse
		if told, err = stream.Recv(); err == nil {
			last = told.GetRun()
		}
	}
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Unavailable {
		return last, nil
	}
	return nil, err
}
