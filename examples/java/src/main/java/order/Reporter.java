package order;

import java.util.ArrayList;
import java.util.List;
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
 * down to one, which may be the reason: it is sent apart then, in calls of its own beside the others', and
 * delays none of them, however long its calls hang.
 */
final class Reporter {
    private static final int MOST = 1_000; // outcomes of one call
    private static final int BYTES = 8 << 20; // of one call: a message has 16 MiB at most
    private static final int PATIENCE = 30; // seconds for an answer: megabytes take long over a narrow way
    private static final int APART = 1; // second from one call to the next with what is sent apart

    private final DispatchServiceBlockingStub server;
    private final String dispatcherId;
    private final Set<Attempt> inHand;
    private final Consumer<Attempt> done; // takes each that is recorded, or never will be
    private final Semaphore ended = new Semaphore(0); // outcomes that nobody has looked for yet
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
        if (send(some)) {
            most = Math.min(2 * most, MOST);
        } else {
            if (some.size() == 1) {
                sendApart(some.get(0));
            }
            most = Math.max(1, some.size() / 2);
            TimeUnit.MILLISECONDS.sleep(500);
        }
        look(); // there may be more
    }

    private void sendApart(Attempt one) {
        Thread thread = new Thread(() -> {
            try {
                while (inHand.contains(one)) {
                    TimeUnit.SECONDS.sleep(APART);
                    if (!send(List.of(one)) && one.isRefused()) { // its lease is over, too
                        drop(one);
                    }
                }
            } catch (InterruptedException error) {
                throw new IllegalStateException(error); // nobody does
            }
        });
        thread.setDaemon(true);
        thread.start();
        one.setApart();
    }

    /** Makes a call, and returns whether it was answered. */
    private boolean send(List<Attempt> some) {
        try {
            ReportTasksRequest.Builder request = ReportTasksRequest.newBuilder().setDispatcherId(dispatcherId);
            some.forEach(each -> request.addOutcomes(each.outcome()));
            List<ReportResult> results = server.withDeadlineAfter(PATIENCE, TimeUnit.SECONDS)
                    .reportTasks(request.build())
                    .getResultsList();
            if (results.size() == some.size()) {
                for (int i = 0; i < results.size(); i++) {
                    conclude(some.get(i), results.get(i));
                }
                return true;
            }
            System.err.println("outcomes wait: some were not answered for");
        } catch (RuntimeException | Error error) { // whatever it is, they are sent again
            System.err.println("outcomes wait: " + error);
        }
        return false;
    }

    /** Returns what goes into one call. */
    private List<Attempt> some() {
        List<Attempt> some = new ArrayList<>();
        int bytes = 0;
        for (Attempt each : inHand) {
            if (!each.isToReport()) {
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

    private void conclude(Attempt attempt, ReportResult result) {
        if (result.getStatus() == ReportStatus.REPORT_STATUS_LEASE_LOST) {
            drop(attempt);
        } else if (result.getStatus() != ReportStatus.REPORT_STATUS_REJECTED
                || !attempt.rejected(result.getError())) {
            done.accept(attempt);
        } // else there is another outcome to report: the lease stands
    }

    private void drop(Attempt attempt) {
        System.err.println(attempt.task.getTaskId() + ": the lease was lost, its outcome is dropped");
        done.accept(attempt);
    }
}
