-- The trace of the call that created a batch, as its caller told it; NULL: none.
ALTER TABLE zart.batches ADD COLUMN traceparent text;
