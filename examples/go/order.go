package main

import (
	"context"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	zartv1 "zart/v1"
)

const taskName = "order-go"

type order struct {
	Number int   `json:"number"`
	Millis int64 `json:"millis"` // how long the card service takes
}

// definition is the graph: what runs after what, and how it is repeated.
var definition = &zartv1.TaskDefinition{TaskName: taskName, Steps: []*zartv1.StepSpec{
	{StepName: "look-up"},
	{
		StepName:  "charge",
		DependsOn: []string{"look-up"},
		Timeout:   durationpb.New(time.Minute),
		// It must not happen twice: where nobody knows, somebody has to find out.
		IfInDoubt:   zartv1.IfInDoubt_IF_IN_DOUBT_STOP,
		RetryPolicy: &zartv1.RetryPolicy{MaxAttempts: 1},
	},
	{StepName: "tell", DependsOn: []string{"look-up", "charge"}},
}}

// handlers is the code, by the names that steps call it by.
var handlers = map[string]Handler{"look-up": lookUp, "charge": charge, "tell": tell}

func lookUp(_ context.Context, task *zartv1.LeasedTask) (any, error) {
	given, err := orderOf(task)
	return map[string]int{"user": given.Number * 2}, err
}

func charge(ctx context.Context, task *zartv1.LeasedTask) (any, error) {
	given, err := orderOf(task)
	if err != nil {
		return nil, err
	}
	key := idempotencyKey(task) // for whoever charges: the same in every attempt
	select {
	case <-time.After(time.Duration(given.Millis) * time.Millisecond):
		return map[string]string{"receipt": "of " + key}, nil
	case <-ctx.Done(): // its lease is lost, its time is up, or the dispatcher stops
		return nil, ctx.Err()
	}
}

func tell(_ context.Context, task *zartv1.LeasedTask) (any, error) {
	told := map[string]json.RawMessage{}
	for name, result := range task.GetUpstreamJson() {
		told[name] = json.RawMessage(result)
	}
	return told, nil
}

func orderOf(task *zartv1.LeasedTask) (given order, err error) {
	err = json.Unmarshal([]byte(task.GetPayloadJson()), &given)
	return given, err
}

// idempotencyKey names what the step does. It is sent only where an operator corrected the input.
func idempotencyKey(task *zartv1.LeasedTask) string {
	if key := task.GetIdempotencyKey(); key != "" {
		return key
	}
	return task.GetRunId() + "/" + task.GetStepName()
}
