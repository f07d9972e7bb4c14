package order;

import com.google.gson.Gson;
import com.google.protobuf.Duration;
import java.nio.charset.StandardCharsets;
import zart.v1.LeasedTask;
import zart.v1.StepError;
import zart.v1.TaskCompleted;
import zart.v1.TaskFailed;
import zart.v1.TaskLost;
import zart.v1.TaskOutcome;
import zart.v1.TaskReleased;
import zart.v1.TaskTimedOut;

/** A leased task in hand, until its outcome is recorded. Guarded by itself. */
final class Attempt {
    private static final int RESULT = 1 << 20; // bytes of JSON: more is not stored, much more not even sent
    private static final int MESSAGE = 12_000; // characters of an error: the server keeps 16 KiB of it
    private static final String REJECTED = "OutcomeRejected";

    final LeasedTask task;
    private final long beginBy; // the end of its first lease
    private long expires; // by our own clock: that of the server is another
    private long extendAt; // a third of the lease has passed
    private long deadline; // of the handler, once it was called
    private Thread running;
    private TaskOutcome outcome; // the first one, which waits to be recorded
    private boolean isBegun; // its handler was called
    private boolean isTimedOut;
    private boolean isLost; // its lease, before it had an outcome
    private boolean isRefused; // its lease, by the server: to report it again and again is in vain
    private boolean isApart; // its call failed with it alone: it is sent in calls of its own

    /** {@code asked}: when the call began that leased it. The answer may have been looked at late. */
    Attempt(LeasedTask task, long asked) {
        this.task = task;
        extended(task.getLeaseTtl(), asked);
        this.beginBy = expires;
    }

    /** Notes the thread that runs the step, null: none does any more. */
    synchronized void isRunBy(Thread thread) {
        running = thread;
    }

    /** Begins the handler's time, and returns whether to call it: not if its lease is over. */
    synchronized boolean begin() {
        look();
        if (!isWanted()) {
            return false;
        }
        long now = System.nanoTime();
        long gone = Math.max(now - beginBy, 0); // its results took longer than a lease to get
        deadline = now + nanos(task.getTimeout()) - gone;
        isBegun = true;
        return true;
    }

    /** Takes what the handler returned. What cannot be stored is not repeated: it has had its effect. */
    void returned(Object result) {
        String json;
        try {
            json = new Gson().toJson(result);
        } catch (Throwable error) { // of a cycle it is an Error
            end(failed("ResultNotJson", "the result is not JSON: " + inWords(error), false));
            return;
        }
        int bytes = json.getBytes(StandardCharsets.UTF_8).length;
        if (bytes > RESULT) {
            String why = "the result has " + bytes + " bytes of JSON, at most " + RESULT + " are kept";
            end(failed("ResultTooLarge", why, false));
        } else {
            end(TaskOutcome.newBuilder().setCompleted(TaskCompleted.newBuilder().setResultJson(json)));
        }
    }

    /** Takes what the handler threw: it is repeated after the backoff, or when the error says. */
    synchronized void threw(Throwable error) {
        if (isTimedOut) {
            end(TaskOutcome.newBuilder().setTimedOut(TaskTimedOut.getDefaultInstance()));
        } else if (!isLost) { // else nobody wants to know
            TaskOutcome.Builder told = failed(error.getClass().getSimpleName(), inWords(error), true);
            if (error instanceof RetryLater later) {
                told.getFailedBuilder().setRetryAfter(Duration.newBuilder().setSeconds(later.seconds));
            }
            end(told);
        }
    }

    /** Stops it, and tells of it as it is. Only one that has not begun had no effect. */
    synchronized void breakOff() {
        if (isBegun) {
            end(TaskOutcome.newBuilder().setLost(TaskLost.getDefaultInstance()));
        } else {
            end(TaskOutcome.newBuilder().setReleased(TaskReleased.newBuilder().setNotBegun(true)));
        }
        interrupt();
    }

    /**
     * Takes another outcome than the one that the server rejected, if there is one. What an error says
     * of its repeat stands: only when that is to be, the server may not take. A result that it cannot
     * store is lost.
     */
    synchronized boolean rejected(String why) {
        TaskFailed told = outcome.getFailed(); // of a result: none, not retryable
        if (told.getError().getType().equals(REJECTED)) {
            return false;
        }
        outcome = null;
        if (told.hasRetryAfter()) {
            end(TaskOutcome.newBuilder().setFailed(told.toBuilder().clearRetryAfter()));
        } else {
            end(failed(REJECTED, why, told.getRetryable()));
        }
        return true;
    }

    synchronized TaskOutcome outcome() {
        return outcome;
    }

    /** Returns whether to run it: it has no outcome, and its lease is not lost. */
    synchronized boolean isWanted() {
        return outcome == null && !isLost;
    }

    synchronized boolean isRefused() {
        return isRefused;
    }

    synchronized void setApart() {
        isApart = true;
    }

    /** Returns whether it waits to be reported together with others. */
    synchronized boolean isToReport() {
        return outcome != null && !isApart;
    }

    /** Returns whether to extend the lease, that of an outcome which waits to be recorded, too. */
    synchronized boolean isDue() {
        return (isWanted() || (outcome != null && !isRefused)) && extendAt - System.nanoTime() <= 0;
    }

    /** Notes the end of the lease, counted from before the call: never later than it is. */
    synchronized void extended(Duration ttl, long asked) {
        expires = asked + nanos(ttl);
        extendAt = asked + nanos(ttl) / 3;
    }

    /** Notes that the server gave the lease up. */
    synchronized void refused() {
        isRefused = true;
        lose("the server gave it up");
    }

    /** Stops the handler where its time is up, or its lease has ended; gives back what has not begun. */
    synchronized void look() {
        if (!isWanted()) {
            return;
        }
        if (expires - System.nanoTime() <= 0) {
            if (isBegun) {
                lose("no server could be reached to extend it");
            } else {
                breakOff();
            }
        } else if (isBegun && deadline - System.nanoTime() < 0 && !isTimedOut) {
            isTimedOut = true;
            interrupt();
        }
    }

    /** Stops the handler of a lost lease. Of one that has ended the server judges the outcome. */
    private void lose(String why) {
        if (isWanted()) {
            System.err.println(task.getRunId() + "/" + task.getStepName() + ": the lease is lost, " + why);
            isLost = true;
            interrupt();
        }
    }

    private void interrupt() {
        if (running != null) {
            running.interrupt();
        }
    }

    /** Takes an outcome, unless there is one. */
    private synchronized void end(TaskOutcome.Builder ending) {
        if (outcome == null) {
            outcome = ending.setTaskId(task.getTaskId()).setLeaseToken(task.getLeaseToken()).build();
        }
    }

    /** Returns what an error says. To ask it may throw in turn. */
    private static String inWords(Throwable error) {
        try {
            return String.valueOf(error.getMessage());
        } catch (Throwable another) {
            return "what it says cannot be told";
        }
    }

    private static TaskOutcome.Builder failed(String type, String message, boolean retryable) {
        String kept = message.substring(0, Math.min(message.length(), MESSAGE));
        StepError error = StepError.newBuilder().setType(type).setMessage(kept).build();
        return TaskOutcome.newBuilder()
                .setFailed(TaskFailed.newBuilder().setError(error).setRetryable(retryable));
    }

    private static long nanos(Duration duration) {
        return duration.getSeconds() * 1_000_000_000L + duration.getNanos();
    }
}
