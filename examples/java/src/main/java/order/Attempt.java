package order;

import com.google.protobuf.Duration;
import zart.v1.LeasedTask;
import zart.v1.StepError;
import zart.v1.TaskFailed;
import zart.v1.TaskOutcome;

/** A leased task in hand, until its outcome is recorded. Guarded by itself. */
final class Attempt {
    final LeasedTask task;
    private final long deadline;
    private long expires; // by our own clock: that of the server is another
    private Thread running;
    private TaskOutcome outcome; // the first one, which waits to be recorded
    private boolean isLost;
    private boolean isTimedOut;

    Attempt(LeasedTask task) {
        this.task = task;
        this.expires = System.nanoTime() + nanos(task.getLeaseTtl());
        this.deadline = System.nanoTime() + nanos(task.getTimeout());
    }

    /** Notes the thread that runs the handler, null: none does any more. */
    synchronized void isRunBy(Thread thread) {
        running = thread;
    }

    /** Takes an outcome, unless there is one. */
    synchronized void end(TaskOutcome.Builder ending) {
        if (outcome == null) {
            outcome = ending.setTaskId(task.getTaskId()).setLeaseToken(task.getLeaseToken()).build();
        }
    }

    /**
     * Takes another outcome than the one that the server rejected. What an error says of its repeat
     * stands: only when that is to be, the server may not take. A result that it cannot store is lost.
     */
    synchronized void rejected(String why) {
        TaskFailed told = outcome.getFailed(); // of a result: none, not retryable
        outcome = null;
        if (told.hasRetryAfter()) {
            end(TaskOutcome.newBuilder().setFailed(told.toBuilder().clearRetryAfter()));
        } else {
            end(failed("OutcomeRejected", why, told.getRetryable()));
        }
    }

    synchronized TaskOutcome outcome() {
        return outcome;
    }

    synchronized boolean isLost() {
        return isLost;
    }

    synchronized boolean isTimedOut() {
        return isTimedOut;
    }

    /** Notes the end of the lease, counted from before the call: never later than it is. */
    synchronized void extended(Duration ttl, long asked) {
        expires = asked + nanos(ttl);
    }

    /** Stops the handler where its time is up, or its lease has ended. */
    synchronized void look() {
        if (outcome != null) {
            return;
        }
        if (expires - System.nanoTime() < 0) {
            lose("no server could be reached to extend it");
        } else if (deadline - System.nanoTime() < 0 && !isTimedOut) {
            isTimedOut = true;
            interrupt();
        }
    }

    /** Stops the handler of a lost lease. Of one that has ended the server judges the outcome. */
    synchronized void lose(String why) {
        if (outcome == null && !isLost) {
            System.err.println(task.getRunId() + "/" + task.getStepName() + ": the lease is lost, " + why);
            isLost = true;
            interrupt();
        }
    }

    synchronized void interrupt() {
        if (running != null) {
            running.interrupt();
        }
    }

    /** The outcome of a handler that threw: repeated after the backoff, or when the error says. */
    static TaskOutcome.Builder failed(Exception error) {
        TaskOutcome.Builder told =
                failed(error.getClass().getSimpleName(), String.valueOf(error.getMessage()), true);
        if (error instanceof RetryLater later) {
            told.getFailedBuilder().setRetryAfter(Duration.newBuilder().setSeconds(later.seconds));
        }
        return told;
    }

    private static TaskOutcome.Builder failed(String type, String message, boolean retryable) {
        StepError error = StepError.newBuilder().setType(type).setMessage(message).build();
        return TaskOutcome.newBuilder()
                .setFailed(TaskFailed.newBuilder().setError(error).setRetryable(retryable));
    }

    private static long nanos(Duration duration) {
        return duration.getSeconds() * 1_000_000_000L + duration.getNanos();
    }
}
