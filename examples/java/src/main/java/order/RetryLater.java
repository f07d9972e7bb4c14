package order;

/** Says when to run the step again, as a service that is busy does; else that is after its backoff. */
final class RetryLater extends Exception {
    final long seconds;

    RetryLater(String message, long seconds) {
        super(message);
        this.seconds = seconds;
    }
}
