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
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	zartv1 "zart/v1"
)

// Every call may be repeated as it is but LeaseTasks: what a lost answer has leased is nobody's.
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
	isDispatch := len(arguments) == 2 && arguments[0] == "dispatch"
	if !isDispatch && (len(arguments) != 4 || arguments[0] != "start") {
		return errors.New("usage: order dispatch ADDRESS | order start ADDRESS ID PAYLOAD")
	}
	channel, err := grpc.NewClient(arguments[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
		// A server that is gone without a word is noticed.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}))
	if err != nil {
		return err
	}
	defer channel.Close()
	if isDispatch {
		return dispatch(zartv1.NewDispatchServiceClient(channel))
	}
	result, err := start(zartv1.NewExecutionServiceClient(channel), arguments[2], arguments[3])
	if err == nil {
		fmt.Println(result)
	}
	return err
}

func dispatch(server zartv1.DispatchServiceClient) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	ctx, cancelCall := context.WithTimeout(stop, patience)
	defer cancelCall()
	// It makes the definition the current one. The same again changes nothing.
	_, err := server.RegisterTask(ctx, &zartv1.RegisterTaskRequest{Definition: definition})
	if err != nil {
		return err
	}
	return NewDispatcher(server, taskName, handlers).Run(stop)
}

// start begins an execution and waits for the end of its run, whose result it returns.
func start(executions zartv1.ExecutionServiceClient, id, payload string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := executions.StartExecution(ctx, &zartv1.StartExecutionRequest{
		ExecutionId: id,
		TaskName:    taskName,
		PayloadKind: &zartv1.StartExecutionRequest_PayloadJson{PayloadJson: payload},
		TriggeredBy: "the example in Go",
		RequestId:   "start-" + id, // a repeat starts nothing
	})
	for err == nil {
		var run *zartv1.Run
		run, err = watch(ctx, executions, id)
		switch run.GetStatus() {
		case zartv1.RunStatus_RUN_STATUS_COMPLETED:
			return run.GetResultJson(), nil
		case zartv1.RunStatus_RUN_STATUS_FAILED, zartv1.RunStatus_RUN_STATUS_CANCELLED:
			return "", fmt.Errorf("%s ended %s: %s", run.GetRunId(), run.GetStatus(), run.GetError())
		}
	}
	return "", err
}

// watch returns the run as it was told last. A watch that breaks is no error: it is taken up again.
func watch(ctx context.Context, executions zartv1.ExecutionServiceClient, id string) (*zartv1.Run, error) {
	var last *zartv1.Run
	stream, err := executions.WatchExecution(ctx, &zartv1.WatchExecutionRequest{ExecutionId: id})
	for err == nil {
		var told *zartv1.WatchExecutionResponse
		if told, err = stream.Recv(); err == nil {
			last = told.GetRun()
		}
	}
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Unavailable {
		err = nil
	}
	return last, err
}
