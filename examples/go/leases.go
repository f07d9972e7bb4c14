package main

import (
	"context"
	"log"
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
		all := d.all()
		for len(all) > 0 {
			some := all[:min(most, len(all))]
			all = all[len(some):]
			d.extend(background, some)
		}
		for _, one := range d.all() {
			d.mutex.Lock()
			isOver := one.expires.Before(time.Now())
			d.mutex.Unlock()
			if isOver {
				d.stop(one, "no server could be reached to extend it")
			}
		}
	}
}

func (d *Dispatcher) extend(background context.Context, some []*attempt) {
	ctx, cancel := context.WithTimeout(background, lease/3)
	defer cancel()
	request := &zartv1.ExtendLeasesRequest{DispatcherId: d.id}
	for _, one := range some {
		request.Leases = append(request.Leases, &zartv1.LeaseRef{
			TaskId: one.task.GetTaskId(), LeaseToken: one.task.GetLeaseToken(),
		})
	}
	asked := time.Now() // so that it never ends later, as we see it, than it does
	answer, err := d.server.ExtendLeases(ctx, request)
	if err != nil || len(answer.GetResults()) != len(some) {
		log.Printf("leases are not extended: %v", err)
		return
	}
	for i, result := range answer.GetResults() {
		if !result.GetExtended() {
			d.stop(some[i], "the server gave it up")
			continue
		}
		d.mutex.Lock()
		some[i].expires = asked.Add(result.GetLeaseTtl().AsDuration())
		d.mutex.Unlock()
	}
}

// report sends outcomes, as many at once as there are, until each is recorded or never will be.
func (d *Dispatcher) report(background context.Context) {
	for {
		var waiting []*zartv1.TaskOutcome
		select {
		case one := <-d.outcomes:
			waiting = append(waiting, one)
		case <-background.Done():
			return
		}
		for more := true; more && len(waiting) < most; {
			select {
			case one := <-d.outcomes:
				waiting = append(waiting, one)
			default:
				more = false
			}
		}
		for len(waiting) > 0 && background.Err() == nil {
			waiting = d.send(background, waiting)
		}
	}
}

// send reports outcomes and returns those that have to be sent again: the same, with the same
// token, which makes a repeat safe.
func (d *Dispatcher) send(
	background context.Context, outcomes []*zartv1.TaskOutcome,
) []*zartv1.TaskOutcome {
	ctx, cancel := context.WithTimeout(background, patience)
	defer cancel()
	answer, err := d.server.ReportTasks(ctx, &zartv1.ReportTasksRequest{
		DispatcherId: d.id, Outcomes: outcomes,
	})
	if err != nil || len(answer.GetResults()) != len(outcomes) {
		log.Printf("outcomes wait: %v", err)
		time.Sleep(500 * time.Millisecond)
		return outcomes
	}
	var again []*zartv1.TaskOutcome
	for i, result := range answer.GetResults() {
		switch result.GetStatus() {
		case zartv1.ReportStatus_REPORT_STATUS_REJECTED: // as too large: the lease stands
			log.Printf("rejected: %s", result.GetError())
			refused := failed("OutcomeRejected", errorText(result.GetError()), false)
			refused.TaskId, refused.LeaseToken = outcomes[i].TaskId, outcomes[i].LeaseToken
			again = append(again, refused)
			continue
		case zartv1.ReportStatus_REPORT_STATUS_LEASE_LOST:
			log.Printf("%s: the lease was lost, its outcome is dropped", result.GetTaskId())
		}
		d.forget(outcomes[i].GetLeaseToken())
	}
	return again
}

type errorText string

func (e errorText) Error() string { return string(e) }
