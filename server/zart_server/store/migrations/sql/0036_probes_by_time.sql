-- What a rule let go since a moment: a breaker's probes are looked at every half second, also under
-- the exclusive pause lock, and all that its rule had ever let go was read for them. The rule is said
-- as a sum, so that this index cannot be taken for what is asked of one attempt.
CREATE INDEX released_steps_by_time ON zart.released_steps ((rule_key + 0), released_at);
