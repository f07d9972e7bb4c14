package order;

import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;
import zart.v1.DispatchServiceGrpc;
import zart.v1.ExecutionServiceGrpc;
import zart.v1.RegisterTaskRequest;
import zart.v1.Run;
import zart.v1.StartExecutionRequest;
import zart.v1.WatchExecutionRequest;
import zart.v1.WatchExecutionResponse;

/**
 * A caller and a dispatcher that know nothing of zart but its protos: {@code dispatch ADDRESS} runs the
 * steps of "order-java" until SIGTERM, {@code start ADDRESS ID PAYLOAD} starts an execution and prints
 * the result of its run.
 */
final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 2) {
            throw new IllegalArgumentException("dispatch ADDRESS | start ADDRESS ID PAYLOAD");
        }
        ManagedChannel channel = NettyChannelBuilder.forTarget(arguments[1])
                .usePlaintext()
                .defaultLoadBalancingPolicy("round_robin")
                .maxInboundMessageSize(16 * 1024 * 1024)
                .keepAliveTime(10, TimeUnit.SECONDS) // a server that is gone without a word is noticed
                .keepAliveTimeout(3, TimeUnit.SECONDS)
                .build();
        if (arguments[0].equals("dispatch")) {
            dispatch(channel);
        } else {
            System.out.println(start(channel, arguments[2], arguments[3]));
            channel.shutdownNow();
        }
    }

    private static void dispatch(ManagedChannel channel) throws InterruptedException {
        var server = DispatchServiceGrpc.newBlockingStub(channel);
        Dispatcher dispatcher = new Dispatcher(server, Order.TASK, Order.HANDLERS);
        server.withDeadlineAfter(10, TimeUnit.SECONDS)
                .registerTask(RegisterTaskRequest.newBuilder().setDefinition(Order.DEFINITION).build());
        // On SIGTERM the process ends when this thread has: it drains first.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            int status = dispatcher.stop() ? 0 : 1;
            Runtime.getRuntime().halt(status);
        }));
        dispatcher.run();
    }

    private static String start(ManagedChannel channel, String id, String payload) {
        var executions = ExecutionServiceGrpc.newBlockingStub(channel);
        executions.withDeadlineAfter(10, TimeUnit.SECONDS).startExecution(StartExecutionRequest.newBuilder()
                .setExecutionId(id)
                .setTaskName(Order.TASK)
                .setPayloadJson(payload)
                .setTriggeredBy("the example in Java")
                .setRequestId("start-" + id) // a repeat starts nothing
                .build());
        WatchExecutionRequest watch = WatchExecutionRequest.newBuilder().setExecutionId(id).build();
        while (true) {
            try {
                Iterator<WatchExecutionResponse> told =
                        executions.withDeadlineAfter(60, TimeUnit.SECONDS).watchExecution(watch);
                while (told.hasNext()) {
                    Run run = told.next().getRun();
                    switch (run.getStatus()) {
                        case RUN_STATUS_COMPLETED:
                            return run.getResultJson();
                        case RUN_STATUS_FAILED, RUN_STATUS_CANCELLED:
                            throw new IllegalStateException(
                                    run.getRunId() + " ended " + run.getStatus() + ": " + run.getError());
                        default:
                    }
                }
            } catch (StatusRuntimeException error) {
                // A watch that breaks is simply taken up again.
                if (error.getStatus().getCode() != Status.Code.UNAVAILABLE) {
                    throw error;
                }
            }
        }
    }
}
