package main

import (
	"context"
	"fmt"
	"log"
	"os"
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
)

// Handler runs a step. It returns what json.Marshal takes, or an error, after which it is repeated.
// Its context ends when nobody wants to know any more: it should return then.
type Handler func(context.Context, *zartv1.LeasedTask) (any, error)

// attempt is a leased task in hand, until its outcome is recorded.
type attempt struct {
	task    *zartv1.LeasedTask
	cancel  context.CancelFunc
	expires time.Time // by our own clock: that of the server is another
	ended   bool      // its outcome waits to be recorded; what its handler returns is not told
}

// Dispatcher leases tasks, runs their handlers, keeps their leases, and reports their outcomes.
type Dispatcher struct {
	server   zartv1.DispatchServiceClient
	id       string
	handlers map[string]Handler
	freed    chan struct{}
	outcomes chan *zartv1.TaskOutcome

	mutex  sync.Mutex
	inHand map[int64]*attempt // by token, which no other lease has
}

// NewDispatcher makes a dispatcher of these handlers.
func NewDispatcher(
	server zartv1.DispatchServiceClient, handlers map[string]Handler,
) *Dispatcher {
	host, _ := os.Hostname()
	return &Dispatcher{
		server:   server,
		id:       fmt.Sprintf("%s/%d", host, os.Getpid()), // told to people, fences nothing
		handlers: handlers,
		freed:    make(chan struct{}, 1),
		outcomes: make(chan *zartv1.TaskOutcome, slots),
		inHand:   map[int64]*attempt{},
	}
}

// Register makes a definition the current one. The same content again changes nothing.
func (d *Dispatcher) Register(ctx context.Context, definition *zartv1.TaskDefinition) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := d.server.RegisterTask(ctx, &zartv1.RegisterTaskRequest{Definition: definition})
	return err
}

// Run works until stop ends, and then drains: it leases nothing more, waits for handlers, tells of
// those that do not end that their attempts are lost, and returns when all of that is recorded.
func (d *Dispatcher) Run(stop context.Context) error {
	background, cancel := context.WithCancel(context.Background())
	defer cancel()
	go d.keepLeases(background)
	go d.report(background)
	for stop.Err() == nil {
		if free := slots - d.count(); free > 0 {
			d.leaseTasks(stop, free)
		} else {
			select {
			case <-d.freed:
			case <-stop.Done():
			}
		}
	}
	if !d.idleWithin(grace) {
		d.lose()
	}
	if !d.idleWithin(patience) {
		return fmt.Errorf("%d outcomes could not be reported: their leases expire", d.count())
	}
	return nil
}

// leaseTasks waits for tasks and begins them. A failed call is never repeated as it is: what it may
// have leased is nobody's until that expires.
func (d *Dispatcher) leaseTasks(stop context.Context, free int) {
	ctx, cancel := context.WithTimeout(stop, poll+patience)
	defer cancel()
	names := make([]string, 0, len(d.handlers))
	for name := range d.handlers {
		names = append(names, name)
	}
	leased, err := d.server.LeaseTasks(ctx, &zartv1.LeaseTasksRequest{
		DispatcherId:  d.id,
		TaskNames:     []string{task},
		Handlers:      names,
		MaxTasks:      int32(free),
		Wait:          durationpb.New(poll),
		LeaseDuration: durationpb.New(lease),
	})
	if err != nil {
		if stop.Err() == nil {
			log.Printf("nothing is leased: %v", err)
			time.Sleep(500 * time.Millisecond)
		}
		return
	}
	for _, each := range leased.GetTasks() {
		d.begin(each)
	}
}

func (d *Dispatcher) count() int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return len(d.inHand)
}

// idleWithin tells whether nothing is in hand, or comes to be so within this time.
func (d *Dispatcher) idleWithin(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for d.count() > 0 {
		select {
		case <-d.freed:
		case <-timer.C:
			return d.count() == 0
		}
	}
	return true
}
