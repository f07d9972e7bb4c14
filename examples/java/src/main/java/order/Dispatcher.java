package order;

import com.google.gson.Gson;
import com.google.protobuf.Duration;
import io.grpc.Context;
import io.grpc.Context.CancellableContext;
import io.grpc.StatusRuntimeException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import zart.v1.DispatchServiceGrpc.DispatchServiceBlockingStub;
import zart.v1.ExtendLeasesRequest;
import zart.v1.GetStepResultsRequest;
import zart.v1.LeaseRef;
import zart.v1.LeaseTasksRequest;
import zart.v1.LeasedTask;
import zart.v1.ReportStatus;
import zart.v1.ReportTasksRequest;
import zart.v1.TaskCompleted;
import zart.v1.TaskLost;
import zart.v1.TaskOutcome;
import zart.v1.TaskTimedOut;

/** Leases tasks, runs their handlers in threads, keeps their leases, and reports their outcomes. */
final class Dispatcher {
    private static final int SLOTS = 16; // handlers at work at once
    private static final int LEASE = 6; // seconds, extended while its handler is at work
    private static final int POLL = 20; // how long the server may wait for the first task
    private static final int PATIENCE = 10; // for an answer, on top
    private static final int GRACE = 1; // for handlers to end when the dispatcher stops
    private static final int MOST = 1_000; // leases or outcomes of one call

    private final DispatchServiceBlockingStub server;
    private final String task;
    private final Map<String, Handler> handlers;
    private final String id = ProcessHandle.current().pid() + "@java"; // for people, fences nothing
    private final Set<Attempt> inHand = ConcurrentHashMap.newKeySet();
    private final Semaphore free = new Semaphore(SLOTS);
    private final ExecutorService threads = Executors.newFixedThreadPool(SLOTS);
    private final Semaphore ended = new Semaphore(0); // outcomes that nobody has looked for yet
    private final CancellableContext polling = Context.current().withCancellation();
    private volatile boolean isStopping;

    Dispatcher(DispatchServiceBlockingStub server, String task, Map<String, Handler> handlers) {
        this.server = server;
        this.task = task;
        this.handlers = handlers;
    }

    /** Works until {@link #stop}. */
    void run() throws InterruptedException {
        background(this::keepLeases);
        background(this::report);
        polling.attach();
        while (!isStopping) {
            free.acquire();
            int slots = 1 + free.drainPermits();
            int begun = 0;
            try {
                begun = isStopping ? 0 : leaseTasks(slots);
            } catch (StatusRuntimeException error) {
                // Never repeated as it is: what it may have leased is nobody's until that expires.
                if (!isStopping) {
                    System.err.println("nothing is leased: " + error.getStatus());
                    TimeUnit.MILLISECONDS.sleep(500);
                }
            } finally {
                free.release(slots - begun);
            }
        }
    }

    /**
     * Drains: waits for handlers, tells of those that do not end that their attempts are lost, and
     * returns whether all of that was recorded.
     */
    boolean stop() {
        isStopping = true;
        polling.cancel(null); // what it has leased in this moment is given back
        within(GRACE, inHand::isEmpty);
        for (Attempt attempt : inHand) {
            attempt.end(TaskOutcome.newBuilder().setLost(TaskLost.getDefaultInstance()));
            attempt.interrupt();
            ended.release();
        }
        return within(PATIENCE, inHand::isEmpty);
    }

    private int leaseTasks(int most) {
        List<LeasedTask> leased = server.withDeadlineAfter(POLL + PATIENCE, TimeUnit.SECONDS)
                .leaseTasks(LeaseTasksRequest.newBuilder()
                        .setDispatcherId(id)
                        .addTaskNames(task)
                        .addAllHandlers(handlers.keySet())
                        .setMaxTasks(most)
                        .setWait(Duration.newBuilder().setSeconds(POLL))
                        .setLeaseDuration(Duration.newBuilder().setSeconds(LEASE))
                        .build())
                .getTasksList();
        for (LeasedTask each : leased) {
            Attempt attempt = new Attempt(each);
            inHand.add(attempt);
            threads.execute(() -> handle(attempt));
        }
        return leased.size();
    }

    private void handle(Attempt attempt) {
        attempt.isRunBy(Thread.currentThread());
        try {
            Object result = handlers.get(attempt.task.getHandler()).run(withResults(attempt.task));
            attempt.end(TaskOutcome.newBuilder()
                    .setCompleted(TaskCompleted.newBuilder().setResultJson(new Gson().toJson(result))));
        } catch (Exception error) {
            if (attempt.isTimedOut()) {
                attempt.end(TaskOutcome.newBuilder().setTimedOut(TaskTimedOut.getDefaultInstance()));
            } else if (attempt.isLost()) {
                forget(attempt); // nobody wants to know
                return;
            } else {
                attempt.end(Attempt.failed(error));
            }
        } finally {
            attempt.isRunBy(null);
            Thread.interrupted(); // is not meant for the next one in this thread
        }
        ended.release();
    }

    /** Asks for what was too large for LeaseTasks; 8 results of 1 MiB fit into one message. */
    private LeasedTask withResults(LeasedTask leased) {
        LeasedTask.Builder whole = leased.toBuilder();
        List<String> names = leased.getUpstreamOmittedList();
        for (int at = 0; at < names.size(); at += 8) {
            GetStepResultsRequest request = GetStepResultsRequest.newBuilder()
                    .setTaskId(leased.getTaskId())
                    .setLeaseToken(leased.getLeaseToken())
                    .addAllStepNames(names.subList(at, Math.min(at + 8, names.size())))
                    .build();
            whole.putAllUpstreamJson(server.withDeadlineAfter(PATIENCE, TimeUnit.SECONDS)
                    .getStepResults(request)
                    .getResultsMap());
        }
        return whole.build();
    }

    /** Extends every lease in hand, that of an outcome which waits to be recorded, too. */
    private void keepLeases() throws InterruptedException {
        TimeUnit.MILLISECONDS.sleep(LEASE * 1000 / 3);
        inHand.forEach(Attempt::look);
        List<Attempt> all = new ArrayList<>(inHand);
        for (int at = 0; at < all.size(); at += MOST) {
            List<Attempt> some = all.subList(at, Math.min(at + MOST, all.size()));
            ExtendLeasesRequest.Builder request = ExtendLeasesRequest.newBuilder().setDispatcherId(id);
            for (Attempt each : some) {
                request.addLeases(LeaseRef.newBuilder()
                        .setTaskId(each.task.getTaskId())
                        .setLeaseToken(each.task.getLeaseToken()));
            }
            long asked = System.nanoTime();
            var results = server.withDeadlineAfter(LEASE / 3, TimeUnit.SECONDS)
                    .extendLeases(request.build())
                    .getResultsList();
            for (int i = 0; i < results.size(); i++) {
                if (results.get(i).getExtended()) {
                    some.get(i).extended(results.get(i).getLeaseTtl(), asked);
                } else {
                    some.get(i).lose("the server gave it up");
                }
            }
        }
    }

    /** Reports what has ended, as much at once as there is: the same again until it has a result. */
    private void report() throws InterruptedException {
        ended.tryAcquire(500, TimeUnit.MILLISECONDS);
        ended.drainPermits();
        List<Attempt> some = inHand.stream().filter(each -> each.outcome() != null).limit(MOST).toList();
        if (some.isEmpty()) {
            return;
        }
        ReportTasksRequest.Builder request = ReportTasksRequest.newBuilder().setDispatcherId(id);
        some.forEach(each -> request.addOutcomes(each.outcome()));
        var results = server.withDeadlineAfter(PATIENCE, TimeUnit.SECONDS)
                .reportTasks(request.build())
                .getResultsList();
        for (int i = 0; i < results.size(); i++) {
            Attempt attempt = some.get(i);
            if (results.get(i).getStatus() == ReportStatus.REPORT_STATUS_REJECTED) {
                attempt.rejected(results.get(i).getError()); // the lease stands
                ended.release();
                continue;
            }
            if (results.get(i).getStatus() == ReportStatus.REPORT_STATUS_LEASE_LOST) {
                System.err.println(attempt.task.getTaskId() + ": the lease was lost, its outcome is dropped");
            }
            forget(attempt);
        }
    }

    private void forget(Attempt attempt) {
        if (inHand.remove(attempt)) {
            free.release();
        }
    }

    /** Repeats this for as long as the process lives, whatever goes wrong. */
    private void background(Work work) {
        Thread thread = new Thread(() -> {
            while (true) {
                try {
                    work.once();
                } catch (StatusRuntimeException error) {
                    System.err.println("the server is asked again: " + error.getStatus());
                    within(1, () -> false);
                } catch (InterruptedException error) {
                    return;
                }
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    private interface Work {
        void once() throws InterruptedException;
    }

    private static boolean within(int seconds, BooleanSupplier condition) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (!condition.getAsBoolean() && deadline - System.nanoTime() > 0) {
            try {
                TimeUnit.MILLISECONDS.sleep(10);
            } catch (InterruptedException error) {
                return condition.getAsBoolean();
            }
        }
        return condition.getAsBoolean();
    }
}
