package main

import (
	"context"
	"log"
	"slices"
	"time"

	zartv1 "zart/v1"
)

const most = 1000 // leases or outcomes of one call

// keepLeases extends every lease in hand each third of its time, that of an outcome which waits to
// be recorded, too.
func (d *Dispatcher) keepLeases(background context.Context) {
	ticker := time.NewTicker(lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-background.Done():
			return
		}
		for some := range slices.Chunk(d.all(), most) {
			d.extend(background, some)
		}
	}
}

func (d *Dispatcher) extend(background context.Context, some []*attempt) {
	request := &zartv1.ExtendLeasesRequest{DispatcherId: d.id}
	for _, each := range some {
		request.Leases = append(request.Leases, &zartv1.LeaseRef{
			TaskId: each.task.GetTaskId(), LeaseToken: each.task.GetLeaseToken(),
		})
	}
	ctx, cancel := context.WithTimeout(background, lease/3)
	defer cancel()
	asked := time.Now() // so that it never ends later, as we see it, than it does
	answer, err := d.server.ExtendLeases(ctx, request)
	if err != nil {
		log.Printf("leases are not extended: %v", err)
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for i, result := range answer.GetResults() {
		if result.GetExtended() {
			some[i].expires = asked.Add(result.GetLeaseTtl().AsDuration())
		} else {
			some[i].stop("the server gave it up")
		}
	}
	for _, each := range some {
		if each.expires.Before(time.Now()) {
			each.stop("no server could be reached to extend it")
		}
	}
}

// report sends outcomes, as many at once as there are, until each has a result. The same is sent
// again with the same token, which makes a repeat safe.
func (d *Dispatcher) report(background context.Context) {
	for background.Err() == nil {
		if outcomes := d.outcomes(); len(outcomes) > 0 {
			d.send(background, outcomes)
			continue
		}
		select {
		case <-d.ended:
		case <-background.Done():
		}
	}
}

func (d *Dispatcher) outcomes() []*zartv1.TaskOutcome {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	var found []*zartv1.TaskOutcome
	for _, each := range d.inHand {
		if each.outcome != nil && len(found) < most {
			found = append(found, each.outcome)
		}
	}
	return found
}

func (d *Dispatcher) send(background context.Context, outcomes []*zartv1.TaskOutcome) {
	ctx, cancel := context.WithTimeout(background, patience)
	defer cancel()
	answer, err := d.server.ReportTasks(ctx, &zartv1.ReportTasksRequest{DispatcherId: d.id, Outcomes: outcomes})
	if err != nil {
		log.Printf("outcomes wait: %v", err)
		rest(background)
		return
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for i, result := range answer.GetResults() {
		one := d.inHand[outcomes[i].GetLeaseToken()]
		switch result.GetStatus() {
		case zartv1.ReportStatus_REPORT_STATUS_REJECTED: // as too large: the lease stands
			one.outcome = nil
			one.end(failed("OutcomeRejected", result.GetError(), false))
			continue
		case zartv1.ReportStatus_REPORT_STATUS_LEASE_LOST:
			log.Printf("%s: the lease was lost, its outcome is dropped", result.GetTaskId())
		}
		d.forget(one)
	}
}
