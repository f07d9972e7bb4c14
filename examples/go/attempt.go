package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"time"

	zartv1 "zart/v1"
)

// attempt is a leased task in hand until its outcome is recorded. The dispatcher's mutex guards it.
type attempt struct {
	task    *zartv1.LeasedTask
	cancel  context.CancelFunc
	expires time.Time           // by our own clock: that of the server is another
	outcome *zartv1.TaskOutcome // the first one, which waits to be recorded
}

// stop ends a handler whose lease is lost. Of one that has ended the server judges the outcome.
func (a *attempt) stop(why string) {
	if a.outcome == nil {
		log.Printf("%s/%s: the lease is lost, %s", a.task.GetRunId(), a.task.GetStepName(), why)
		a.cancel()
	}
}

// end takes an outcome, unless there is one, and only then ends the handler's context: it cannot
// tell something else before.
func (a *attempt) end(outcome *zartv1.TaskOutcome) {
	if a.outcome == nil {
		outcome.TaskId, outcome.LeaseToken = a.task.GetTaskId(), a.task.GetLeaseToken()
		a.outcome = outcome
	}
	a.cancel()
}

// outcomeOf says how an attempt ended; nil: its handler was stopped, and knows of nothing.
func outcomeOf(ctx context.Context, result any, err error) *zartv1.TaskOutcome {
	switch {
	case err == nil:
		text, notJSON := json.Marshal(result)
		if notJSON != nil {
			return failed("ResultNotJSON", notJSON.Error(), false)
		}
		return &zartv1.TaskOutcome{Outcome: &zartv1.TaskOutcome_Completed{
			Completed: &zartv1.TaskCompleted{ResultJson: string(text)},
		}}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &zartv1.TaskOutcome{Outcome: &zartv1.TaskOutcome_TimedOut{TimedOut: &zartv1.TaskTimedOut{}}}
	case ctx.Err() != nil:
		return nil
	}
	return failed(fmt.Sprintf("%T", err), err.Error(), true)
}

func failed(kind, message string, retryable bool) *zartv1.TaskOutcome {
	return &zartv1.TaskOutcome{Outcome: &zartv1.TaskOutcome_Failed{Failed: &zartv1.TaskFailed{
		Error: &zartv1.StepError{Type: kind, Message: message}, Retryable: retryable,
	}}}
}
