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

// begin runs the handler of a leased task in a goroutine of its own.
func (d *Dispatcher) begin(task *zartv1.LeasedTask) {
	ctx, cancel := context.WithTimeout(context.Background(), task.GetTimeout().AsDuration())
	one := &attempt{
		task: task, cancel: cancel, expires: time.Now().Add(task.GetLeaseTtl().AsDuration()),
	}
	d.mutex.Lock()
	d.inHand[task.GetLeaseToken()] = one
	d.mutex.Unlock()
	go func() {
		result, err := d.handle(ctx, task)
		d.end(one, outcomeOf(ctx, result, err))
	}()
}

func (d *Dispatcher) handle(ctx context.Context, task *zartv1.LeasedTask) (_ any, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	// What was too large for LeaseTasks is asked for; 8 results of 1 MiB fit into one message.
	for omitted := task.GetUpstreamOmitted(); len(omitted) > 0; {
		some := omitted[:min(8, len(omitted))]
		omitted = omitted[len(some):]
		answer, err := d.server.GetStepResults(ctx, &zartv1.GetStepResultsRequest{
			TaskId: task.GetTaskId(), LeaseToken: task.GetLeaseToken(), StepNames: some,
		})
		if err != nil {
			return nil, err
		}
		if task.UpstreamJson == nil {
			task.UpstreamJson = map[string]string{}
		}
		for name, result := range answer.GetResults() {
			task.UpstreamJson[name] = result
		}
	}
	return d.handlers[task.GetHandler()](ctx, task)
}

// outcomeOf says how an attempt ended; nil: its handler was stopped, and knows of nothing.
func outcomeOf(ctx context.Context, result any, err error) *zartv1.TaskOutcome {
	if err == nil {
		text, notJSON := json.Marshal(result)
		if notJSON == nil {
			return &zartv1.TaskOutcome{Outcome: &zartv1.TaskOutcome_Completed{
				Completed: &zartv1.TaskCompleted{ResultJson: string(text)},
			}}
		}
		return failed("ResultNotJSON", notJSON, false)
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &zartv1.TaskOutcome{Outcome: &zartv1.TaskOutcome_TimedOut{
			TimedOut: &zartv1.TaskTimedOut{},
		}}
	case ctx.Err() != nil:
		return nil
	}
	return failed(fmt.Sprintf("%T", err), err, true)
}

func failed(kind string, err error, retryable bool) *zartv1.TaskOutcome {
	return &zartv1.TaskOutcome{Outcome: &zartv1.TaskOutcome_Failed{Failed: &zartv1.TaskFailed{
		Error: &zartv1.StepError{Type: kind, Message: err.Error()}, Retryable: retryable,
	}}}
}

// end has an outcome reported, the first of each attempt; without one the attempt is forgotten.
func (d *Dispatcher) end(one *attempt, outcome *zartv1.TaskOutcome) {
	one.cancel()
	d.mutex.Lock()
	isFirst := !one.ended
	one.ended = true
	d.mutex.Unlock()
	if !isFirst {
		return
	}
	if outcome == nil {
		d.forget(one.task.GetLeaseToken())
		return
	}
	outcome.TaskId, outcome.LeaseToken = one.task.GetTaskId(), one.task.GetLeaseToken()
	d.outcomes <- outcome
}

// lose tells of each handler that is at work still that nobody will know how it ended: it may have
// had its effect. Its context ends only then, so that it cannot tell something else before.
func (d *Dispatcher) lose() {
	for _, one := range d.all() {
		d.end(one, &zartv1.TaskOutcome{Outcome: &zartv1.TaskOutcome_Lost{Lost: &zartv1.TaskLost{}}})
	}
}

func (d *Dispatcher) forget(token int64) {
	d.mutex.Lock()
	delete(d.inHand, token)
	d.mutex.Unlock()
	select {
	case d.freed <- struct{}{}:
	default:
	}
}

func (d *Dispatcher) all() []*attempt {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	all := make([]*attempt, 0, len(d.inHand))
	for _, one := range d.inHand {
		all = append(all, one)
	}
	return all
}

// stop ends a handler whose lease is lost: another dispatcher may have the task by now.
func (d *Dispatcher) stop(one *attempt, why string) {
	d.mutex.Lock()
	isAtWork := !one.ended
	d.mutex.Unlock()
	if isAtWork { // of one that has ended the server judges the outcome, by its token
		log.Printf("%s/%s: the lease is lost, %s", one.task.GetRunId(), one.task.GetStepName(), why)
		one.cancel()
	}
}
