package order;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import com.google.protobuf.Duration;
import java.util.Map;
import java.util.stream.Collectors;
import zart.v1.IfInDoubt;
import zart.v1.LeasedTask;
import zart.v1.RetryPolicy;
import zart.v1.StepSpec;
import zart.v1.TaskDefinition;

/**
 * An order: its graph, and the code of its steps. {@code millis}: how long the card service takes;
 * {@code busy}: for how many seconds who is asked first wants to be left alone, none if 0;
 * {@code answer}: what is wrong with the first answer: it is "large", "not JSON", "missing", or an
 * error "untold".
 */
record Order(int number, long millis, long busy, String answer) {
    static final String TASK = "order-java";

    static final TaskDefinition DEFINITION = TaskDefinition.newBuilder()
            .setTaskName(TASK)
            .addSteps(StepSpec.newBuilder().setStepName("look-up"))
            .addSteps(StepSpec.newBuilder()
                    .setStepName("charge")
                    .addDependsOn("look-up")
                    .setTimeout(Duration.newBuilder().setSeconds(60))
                    // It must not happen twice: where nobody knows, somebody has to find out.
                    .setIfInDoubt(IfInDoubt.IF_IN_DOUBT_STOP)
                    .setRetryPolicy(RetryPolicy.newBuilder().setMaxAttempts(1)))
            .addSteps(StepSpec.newBuilder()
                    .setStepName("tell")
                    .addDependsOn("look-up")
                    .addDependsOn("charge"))
            .build();

    /** The code, by the names that steps call it by. */
    static final Map<String, Handler> HANDLERS =
            Map.of("look-up", Order::lookUp, "charge", Order::charge, "tell", Order::tell);

    private static Order of(LeasedTask task) {
        return new Gson().fromJson(task.getPayloadJson(), Order.class);
    }

    /** Names what the step does. It is sent only where an operator corrected the input. */
    private static String idempotencyKey(LeasedTask task) {
        String key = task.getIdempotencyKey();
        return key.isEmpty() ? task.getRunId() + "/" + task.getStepName() : key;
    }

    private static Object lookUp(LeasedTask task) throws RetryLater {
        Order order = of(task);
        if (order.busy() > 0 && task.getAttempt() == 1) {
            throw new RetryLater("busy", order.busy());
        }
        if (order.answer() != null && task.getAttempt() == 1) {
            return wrong(order.answer());
        }
        return Map.of("user", order.number() * 2);
    }

    private static final class Untold extends RuntimeException {
        @Override
        public String getMessage() {
            throw new IllegalStateException("it has none");
        }
    }

    private static Object wrong(String answer) {
        return switch (answer) {
            case "large" -> "x".repeat(20 << 20);
            case "not JSON" -> Double.NaN;
            case "untold" -> throw new Untold();
            default -> throw new AssertionError("no answer");
        };
    }

    private static Object charge(LeasedTask task) throws InterruptedException {
        String key = idempotencyKey(task); // for whoever charges: the same in every attempt
        Thread.sleep(of(task).millis());
        return Map.of("receipt", "of " + key);
    }

    private static Object tell(LeasedTask task) {
        Map<String, JsonElement> told = task.getUpstreamJsonMap().entrySet().stream()
                .collect(Collectors.toMap(Map.Entry::getKey, each -> JsonParser.parseString(each.getValue())));
        return told;
    }
}
