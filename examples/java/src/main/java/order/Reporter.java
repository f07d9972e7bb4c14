package order;

import io.grpc.StatusRuntimeException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import zart.v1.DispatchServiceGrpc.DispatchServiceBlockingStub;
import zart.v1.ReportResult;
import zart.v1.ReportStatus;
import zart.v1.ReportTasksRequest;

/**
 * Reports what has ended, as much at once as there is, until each outcome has a result. The same is sent
 * again with the same token, which makes a repeat safe. After a call that failed half as many are sent,
 * down to one, which may be the reason: it waits apart then, and delays no other.
 */
final class Reporter {
    private static final int MOST = 1_000; // outcomes of one call
    private static final int BYTES = 8 << 20; // of one call: a message has 16 MiB at most
    private static final int PATIENCE = 30; // seconds for an answer: megabytes take long over a narrow way
    private static final long APART = 1_000_000_000; // ns that an outcome waits whose call failed with it alone

    private final DispatchServiceBlockingStub server;
    private final String dispatcherId;
    private final Set<Attempt> inHand;
    private final Consumer<Attempt> done; // takes each that is recorded, or never will be
    private final Semaphore ended = new Semaphore(0); // outcomes that nobody has looked for yet
    private final Map<Attempt, Long> apart = new HashMap<>(); // until when each waits
    private int most = MOST;

    Reporter(
            DispatchServiceBlockingStub server,
            String dispatcherId,
            Set<Attempt> inHand,
            Consumer<Attempt> done) {
        this.server = server;
        this.dispatcherId = dispatcherId;
        this.inHand = inHand;
        this.done = done;
    }

    /** To be called whenever one has ended. */
    void look() {
        ended.release();
    }

    /** Waits for outcomes, and makes one call; to be repeated by one thread. */
    void report() throws InterruptedException {
        ended.tryAcquire(500, TimeUnit.MILLISECONDS);
        ended.drainPermits();
        List<Attempt> some = some();
        if (some.isEmpty()) {
            return;
        }
        ReportTasksRequest.Builder request = ReportTasksRequest.newBuilder().setDispatcherId(dispatcherId);
        some.forEach(each -> request.addOutcomes(each.outcome()));
        try {
            List<ReportResult> results = server.withDeadlineAfter(PATIENCE, TimeUnit.SECONDS)
                    .reportTasks(request.build())
                    .getResultsList();
            if (results.size() == some.size()) {
                for (int i = 0; i < results.size(); i++) {
                    conclude(some.get(i), results.get(i));
                }
                most = Math.min(2 * most, MOST);
                look(); // there may be more
                return;
            }
            System.err.println("outcomes wait: some were not answered for");
        } catch (StatusRuntimeException error) {
            System.err.println("outcomes wait: " + error.getStatus());
        }
        putBack(some);
    }

    /** Returns what goes into one call; what has waited apart goes alone. */
    private List<Attempt> some() {
        for (Attempt each : apart.keySet()) {
            if (apart.get(each) - System.nanoTime() <= 0) {
                return List.of(each);
            }
        }
        List<Attempt> some = new ArrayList<>();
        int bytes = 0;
        for (Attempt each : inHand) {
            if (each.outcome() == null || apart.containsKey(each)) {
                continue;
            }
            bytes += each.outcome().getSerializedSize();
            if (!some.isEmpty() && (bytes > BYTES || some.size() == most)) {
                break;
            }
            some.add(each);
        }
        return some;
    }

    private void putBack(List<Attempt> some) throws InterruptedException {
        Attempt one = some.get(0);
        boolean wasApart = apart.containsKey(one);
        if (wasApart && one.isRefused()) { // its lease is over, too
            drop(one);
            return;
        }
        if (some.size() == 1) {
            apart.put(one, System.nanoTime() + APART);
        }
        if (!wasApart) {
            most = Math.max(1, some.size() / 2);
            TimeUnit.MILLISECONDS.sleep(500);
        }
        look();
    }

    private void conclude(Attempt attempt, ReportResult result) {
        if (result.getStatus() == ReportStatus.REPORT_STATUS_LEASE_LOST) {
            drop(attempt);
        } else if (result.getStatus() != ReportStatus.REPORT_STATUS_REJECTED
                || !attempt.rejected(result.getError())) {
            forget(attempt);
        } // else there is another outcome to report: the lease stands
    }

    private void drop(Attempt attempt) {
        System.err.println(attempt.task.getTaskId() + ": the lease was lost, its outcome is dropped");
        forget(attempt);
    }

    private void forget(Attempt attempt) {
        apart.remove(attempt);
        done.accept(attempt);
    }
}
