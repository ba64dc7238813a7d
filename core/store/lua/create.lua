-- ARGV: id (of a job or study), most queued ones, idempotency key or '', fingerprint, seconds to remember it,
-- data sets that it uses (with spaces between), key that makes it or '', number of labels, label=value ..., field, value ...
-- (queue, place and created_at among them)
-- -> 'created', position, number of workers | 'replayed', the same, record | 'reused' | 'deleted', id | 'full'
-- | 'no_data', id of a data set that is not there (any more)
return create_work(nil, position)
