-- Circuit breakers (docs/adr/0032-breakers.md): pause rules that make themselves when attempts end
-- badly, and the counts by which they do.

CREATE TABLE zart.breakers (
    breaker_key       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    breaker_id        text COLLATE "C" NOT NULL UNIQUE,
    task_name         text COLLATE "C",
    step_pattern      text COLLATE "C",
    failure_threshold integer NOT NULL,
    counted_within    interval NOT NULL,
    min_failure_ratio double precision NOT NULL,
    error_group_id    text COLLATE "C",
    cooldown          interval,                    -- NULL: it stays open until it is reset
    probe_steps       integer NOT NULL,
    rate_per_second   double precision,            -- NULL: all at once
    status            text NOT NULL DEFAULT 'closed'
        CHECK (status IN ('closed', 'open', 'half_open')),
    -- Counts are of one generation. Another begins when it closes, and when it counts other
    -- attempts than before; attempts count whose lease token is beyond token_from.
    generation        integer NOT NULL DEFAULT 1,
    token_from        bigint NOT NULL,
    closed_at         timestamptz NOT NULL DEFAULT statement_timestamp(),
    rule_key          bigint,                      -- the rule that it made last
    opened_at         timestamptz,
    half_open_at      timestamptz,
    cooldowns         integer NOT NULL DEFAULT 1,  -- how many times the cooldown it stays open
    trip_count        integer NOT NULL DEFAULT 0,
    last_error        json,
    reason            text NOT NULL,
    created_by        text NOT NULL,
    principal         text NOT NULL,
    incident          text COLLATE "C" NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT statement_timestamp(),
    CHECK (task_name IS NOT NULL OR step_pattern IS NOT NULL)
);
CREATE INDEX breakers_closed ON zart.breakers (task_name, breaker_key) WHERE status = 'closed';
CREATE INDEX breakers_with_ratio ON zart.breakers (breaker_key)
    WHERE status = 'closed' AND min_failure_ratio > 0;
CREATE UNIQUE INDEX breakers_not_closed ON zart.breakers (rule_key) WHERE status <> 'closed';

-- What ended within a second. Completed attempts are counted only for breakers with a ratio, each
-- server adding what it has recorded; failed ones by the look that finds them.
CREATE TABLE zart.breaker_counts (
    breaker_key bigint NOT NULL,
    generation  integer NOT NULL,
    second      timestamptz NOT NULL,
    failed      integer NOT NULL DEFAULT 0,
    completed   integer NOT NULL DEFAULT 0,
    PRIMARY KEY (breaker_key, generation, second)
) WITH (fillfactor = 70);

-- Until when failed attempts were looked for last; the row is the lock of whoever looks.
CREATE TABLE zart.breaker_looks (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    looked_at timestamptz NOT NULL
);
INSERT INTO zart.breaker_looks (looked_at) VALUES (statement_timestamp());

-- Only attempts that did not complete their step are in this table: what succeeds pays nothing.
CREATE INDEX attempts_by_time ON zart.attempts (completed_at);

CREATE VIEW public.zart_breakers AS
SELECT b.breaker_id, b.task_name, b.step_pattern, b.failure_threshold,
       b.counted_within AS "window", b.min_failure_ratio, b.error_group_id, b.cooldown,
       b.probe_steps, b.rate_per_second, b.status, b.opened_at, b.half_open_at, p.rule_id,
       b.trip_count, b.last_error, b.reason, b.created_by, b.principal, b.incident, b.created_at
FROM zart.breakers b LEFT JOIN zart.pause_rules p USING (rule_key);
