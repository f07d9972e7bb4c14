package order;

import zart.v1.LeasedTask;

/**
 * Runs a step: returns what Gson writes as JSON, or throws, after which it is repeated. Its thread is
 * interrupted when nobody wants to know any more: it should end then.
 */
@FunctionalInterface
interface Handler {
    Object run(LeasedTask task) throws Exception;
}
