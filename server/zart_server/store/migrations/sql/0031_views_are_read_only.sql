-- A view of one table alone can be written through, with its owner's rights: whoever was granted all
-- on it, as default privileges do, changed the record, though nobody let him into schema zart. A view
-- that joins cannot. What has no column and one row is planned away, and so costs nothing.
CREATE OR REPLACE VIEW public.zart_requests AS
SELECT caller, rpc, request_id, is_complete, created_at
FROM zart.requests CROSS JOIN (SELECT) read_only;

CREATE OR REPLACE VIEW public.zart_operations AS
SELECT operation_key AS operation_id, kind, execution_id, run_number, step_name, rule_id,
       task_name, triggered_by, reason, request_id, created_at, replaced, made, principal,
       incident, batch_id, breaker_id
FROM zart.operations CROSS JOIN (SELECT) read_only;

CREATE OR REPLACE VIEW public.zart_operation_attempts AS
SELECT operation_key AS operation_id, status, kind, execution_id, run_number, step_name, rule_id,
       task_name, batch_id, breaker_id, incident, triggered_by, principal, reason, request_id,
       refusal, created_at
FROM zart.operation_attempts CROSS JOIN (SELECT) read_only;

CREATE OR REPLACE VIEW public.zart_in_doubt AS
SELECT execution_id, run_number, step_name, attempt, task_name, ended_as, dispatcher_id, principal,
       started_at, ended_at, finding, resolved_at, resolved_by AS resolved_by_operation_id, reason,
       late_status, late_result AS late_result_json, late_error, late_received_at
FROM zart.in_doubt CROSS JOIN (SELECT) read_only;

CREATE OR REPLACE VIEW public.zart_batches AS
SELECT batch_id, status, pause_cause, operation, selection, as_of, selected, done, refused,
       CASE WHEN status = 'cancelled' THEN 0 ELSE selected - done - refused END AS pending,
       CASE WHEN status = 'cancelled' THEN selected - done - refused ELSE 0 END AS cancelled,
       rate_per_second, canary, max_failures, created_by, principal, reason, incident, error,
       created_at, started_at, completed_at
FROM zart.batches CROSS JOIN (SELECT) read_only;

CREATE OR REPLACE VIEW public.zart_retention AS
SELECT task_name, keep, set_at, triggered_by, principal, reason, incident
FROM zart.task_retention CROSS JOIN (SELECT) read_only;
