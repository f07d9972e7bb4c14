-- The trace that an execution belongs to, as its caller told it (W3C's traceparent); NULL: none. A
-- run that follows has that of the run before it.
ALTER TABLE zart.runs ADD COLUMN traceparent text;
