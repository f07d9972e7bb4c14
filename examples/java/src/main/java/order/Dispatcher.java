package order;

import com.google.protobuf.Duration;
import io.grpc.Context;
import io.grpc.Context.CancellableContext;
import io.grpc.StatusRuntimeException;
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

/** Leases tasks, runs their handlers in threads, keeps their leases, and reports their outcomes. */
final class Dispatcher {
    private static final int SLOTS = 16; // handlers at work at once
    private static final int LEASE = 6; // seconds, extended while its handler is at work
    private static final int TICK = LEASE * 1000 / 24; // ms from one look at the leases to the next
    private static final int POLL = LEASE / 3; // the server waits so long: a lease counts from the call
    private static final int PATIENCE = 10; // for an answer, on top
    private static final int RESULTS_PATIENCE = 60; // for 8 MiB of results, over a narrow way too
    private static final int GRACE = 1; // for handlers to end when the dispatcher stops
    private static final int MOST = 1_000; // leases of one call

    private final DispatchServiceBlockingStub server;
    private final String task;
    private final Map<String, Handler> handlers;
    private final String id = ProcessHandle.current().pid() + "@java"; // for people, fences nothing
    private final Set<Attempt> inHand = ConcurrentHashMap.newKeySet();
    private final Semaphore free = new Semaphore(SLOTS);
    private final ExecutorService threads = Executors.newFixedThreadPool(SLOTS);
    private final Reporter reporter;
    private final CancellableContext polling = Context.current().withCancellation();
    private volatile boolean isStopping;

    Dispatcher(DispatchServiceBlockingStub server, String task, Map<String, Handler> handlers) {
        this.server = server;
        this.task = task;
        this.handlers = handlers;
        this.reporter = new Reporter(server, id, inHand, this::forget);
    }

    /** Works until {@link #stop}. */
    void run() throws InterruptedException {
        background(this::keepLeases);
        background(this::look); // also while a call hangs
        background(reporter::report);
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
            attempt.breakOff();
        }
        reporter.look();
        return within(PATIENCE, inHand::isEmpty);
    }

    private int leaseTasks(int most) {
        long asked = System.nanoTime(); // a process that was frozen looks at an old answer
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
            Attempt attempt = new Attempt(each, asked);
            inHand.add(attempt);
            threads.execute(() -> handle(attempt));
        }
        return leased.size();
    }

    private void handle(Attempt attempt) {
        attempt.isRunBy(Thread.currentThread());
        try {
            LeasedTask task = withResults(attempt);
            if (attempt.begin()) {
                attempt.returned(handlers.get(task.getHandler()).run(task));
            }
        } catch (Throwable error) { // an Error, too: else nobody would hear of it
            attempt.threw(error);
        } finally {
            attempt.isRunBy(null);
            Thread.interrupted(); // is not meant for the next one in this thread
            if (attempt.outcome() == null) {
                forget(attempt); // its lease is lost: nobody wants to know
            } else {
                reporter.look();
            }
        }
    }

    /** Asks for the results that were too large for LeaseTasks, until they are there. */
    private LeasedTask withResults(Attempt attempt) throws InterruptedException {
        LeasedTask.Builder whole = attempt.task.toBuilder();
        List<String> names = attempt.task.getUpstreamOmittedList();
        for (int at = 0; at < names.size(); at += 8) { // 8 of 1 MiB fit into a message
            GetStepResultsRequest request = GetStepResultsRequest.newBuilder()
                    .setTaskId(attempt.task.getTaskId())
                    .setLeaseToken(attempt.task.getLeaseToken())
                    .addAllStepNames(names.subList(at, Math.min(at + 8, names.size())))
                    .build();
            while (attempt.isWanted() && !hasAll(whole, request)) {
                try {
                    whole.putAllUpstreamJson(server.withDeadlineAfter(RESULTS_PATIENCE, TimeUnit.SECONDS)
                            .getStepResults(request)
                            .getResultsMap());
                } catch (StatusRuntimeException error) {
                    System.err.println("results that a step needs are not given: " + error.getStatus());
                    TimeUnit.MILLISECONDS.sleep(500); // interrupted, where its lease is over
                }
            }
        }
        return whole.build();
    }

    private static boolean hasAll(LeasedTask.Builder task, GetStepResultsRequest request) {
        return task.getUpstreamJsonMap().keySet().containsAll(request.getStepNamesList());
    }

    /**
     * Extends each lease in hand when a third of it has passed, that of an outcome which waits to be
     * recorded, too. What was not extended is due at the next look.
     */
    private void keepLeases() throws InterruptedException {
        TimeUnit.MILLISECONDS.sleep(TICK);
        List<Attempt> due = inHand.stream().filter(Attempt::isDue).limit(MOST).toList();
        if (!due.isEmpty()) {
            try {
                extend(due);
            } catch (StatusRuntimeException error) {
                System.err.println("leases are not extended: " + error.getStatus());
            }
        }
    }

    /** Stops what is over, and gives back what has not begun in time. */
    private void look() throws InterruptedException {
        TimeUnit.MILLISECONDS.sleep(TICK);
        inHand.forEach(Attempt::look);
        reporter.look();
    }

    private void extend(List<Attempt> due) {
        ExtendLeasesRequest.Builder request = ExtendLeasesRequest.newBuilder().setDispatcherId(id);
        for (Attempt each : due) {
            request.addLeases(LeaseRef.newBuilder()
                    .setTaskId(each.task.getTaskId())
                    .setLeaseToken(each.task.getLeaseToken()));
        }
        long asked = System.nanoTime(); // so that it never ends later, as we see it, than it does
        var results = server.withDeadlineAfter(LEASE * 1000 / 4, TimeUnit.MILLISECONDS) // two may fail
                .extendLeases(request.build())
                .getResultsList();
        for (int i = 0; i < Math.min(results.size(), due.size()); i++) {
            if (results.get(i).getExtended()) {
                due.get(i).extended(results.get(i).getLeaseTtl(), asked);
            } else {
                due.get(i).refused();
            }
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
                } catch (RuntimeException | Error error) {
                    System.err.println("it is tried again: " + error);
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
