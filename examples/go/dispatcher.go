package main

import (
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	zartv1 "zart/v1"
)

const (
	slots    = 16               // handlers at work at once
	lease    = 6 * time.Second  // extended while its handler is at work
	poll     = 20 * time.Second // how long the server may wait for the first task
	patience = 10 * time.Second // for an answer, on top
	grace    = time.Second      // for handlers to end when the dispatcher stops
	backoff  = 500 * time.Millisecond
)

// Handler runs a step. It returns what json.Marshal takes, or an error, after which it is repeated.
// Its context ends when nobody wants to know any more: it should return then.
type Handler func(context.Context, *zartv1.LeasedTask) (any, error)

// Dispatcher leases tasks, runs their handlers, keeps their leases, and reports their outcomes.
type Dispatcher struct {
	server   zartv1.DispatchServiceClient
	id       string // for people, fences nothing
	taskName string
	handlers map[string]Handler
	ended    chan struct{} // there may be outcomes to report
	freed    chan struct{} // something less may be in hand

	mutex  sync.Mutex
	inHand map[int64]*attempt // by token, which no other lease has
}

// NewDispatcher makes a dispatcher of these handlers.
func NewDispatcher(
	server zartv1.DispatchServiceClient, taskName string, handlers map[string]Handler,
) *Dispatcher {
	host, _ := os.Hostname()
	return &Dispatcher{
		server:   server,
		id:       fmt.Sprintf("%s/%d", host, os.Getpid()),
		taskName: taskName,
		handlers: handlers,
		ended:    make(chan struct{}, 1),
		freed:    make(chan struct{}, 1),
		inHand:   map[int64]*attempt{},
	}
}

// Run works until stop ends, and then drains: it leases nothing more, waits for handlers, tells of
// those that do not end that their attempts are lost, and returns when all of that is recorded.
func (d *Dispatcher) Run(stop context.Context) error {
	background, cancel := context.WithCancel(context.Background())
	defer cancel()
	go d.keepLeases(background)
	go d.report(background)
	for stop.Err() == nil {
		if free := slots - len(d.all()); free > 0 {
			d.leaseTasks(stop, free)
		} else {
			select {
			case <-d.freed:
			case <-stop.Done():
			}
		}
	}
	if !d.idleWithin(grace) {
		for _, each := range d.all() {
			d.end(each, &zartv1.TaskOutcome{Outcome: &zartv1.TaskOutcome_Lost{Lost: &zartv1.TaskLost{}}})
		}
	}
	if !d.idleWithin(patience) {
		return fmt.Errorf("%d outcomes could not be reported: their leases expire", len(d.all()))
	}
	return nil
}

// leaseTasks waits for tasks and begins them. A failed call is never repeated as it is: what it may
// have leased is nobody's until that expires.
func (d *Dispatcher) leaseTasks(stop context.Context, free int) {
	// Cancelled, the call gives back what it has leased.
	ctx, cancel := context.WithTimeout(stop, poll+patience)
	defer cancel()
	leased, err := d.server.LeaseTasks(ctx, &zartv1.LeaseTasksRequest{
		DispatcherId:  d.id,
		TaskNames:     []string{d.taskName},
		Handlers:      slices.Collect(maps.Keys(d.handlers)),
		MaxTasks:      int32(free),
		Wait:          durationpb.New(poll),
		LeaseDuration: durationpb.New(lease),
	})
	if err != nil && stop.Err() == nil {
		log.Printf("nothing is leased: %v", err)
		rest(stop)
	}
	for _, task := range leased.GetTasks() {
		d.begin(task)
	}
}

// begin runs the handler of a task in a goroutine of its own.
func (d *Dispatcher) begin(task *zartv1.LeasedTask) {
	ctx, cancel := context.WithTimeout(context.Background(), task.GetTimeout().AsDuration())
	begun := &attempt{task: task, cancel: cancel, expires: time.Now().Add(task.GetLeaseTtl().AsDuration())}
	d.mutex.Lock()
	d.inHand[task.GetLeaseToken()] = begun
	d.mutex.Unlock()
	go func() {
		result, err := d.handle(ctx, task)
		d.end(begun, outcomeOf(ctx, result, err))
	}()
}

func (d *Dispatcher) handle(ctx context.Context, task *zartv1.LeasedTask) (_ any, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	// What was too large for LeaseTasks is asked for; 8 results of 1 MiB fit into one message.
	for names := range slices.Chunk(task.GetUpstreamOmitted(), 8) {
		answer, err := d.server.GetStepResults(ctx, &zartv1.GetStepResultsRequest{
			TaskId: task.GetTaskId(), LeaseToken: task.GetLeaseToken(), StepNames: names,
		})
		if err != nil {
			return nil, err
		}
		if task.UpstreamJson == nil {
			task.UpstreamJson = map[string]string{}
		}
		maps.Copy(task.UpstreamJson, answer.GetResults())
	}
	return d.handlers[task.GetHandler()](ctx, task)
}

// end has the first outcome of an attempt reported. Without any, the attempt is forgotten.
func (d *Dispatcher) end(one *attempt, outcome *zartv1.TaskOutcome) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if outcome != nil {
		one.end(outcome)
		signalTo(d.ended)
	} else if one.outcome == nil {
		d.forget(one)
	}
}

// forget needs the mutex.
func (d *Dispatcher) forget(one *attempt) {
	one.cancel()
	delete(d.inHand, one.task.GetLeaseToken())
	signalTo(d.freed)
}

func (d *Dispatcher) all() []*attempt {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return slices.Collect(maps.Values(d.inHand))
}

// idleWithin tells whether nothing is in hand, or comes to be so within this time.
func (d *Dispatcher) idleWithin(limit time.Duration) bool {
	over := time.After(limit)
	for len(d.all()) > 0 {
		select {
		case <-d.freed:
		case <-over:
			return len(d.all()) == 0
		}
	}
	return true
}

func signalTo(waiting chan struct{}) {
	select {
	case waiting <- struct{}{}:
	default: // it was told, and has not looked yet
	}
}

func rest(ctx context.Context) {
	select {
	case <-time.After(backoff):
	case <-ctx.Done():
	}
}
