-- ARGV: content (`file_...`) about to be stored, ms after which it is for the trash unless a data set
-- has it by then
redis.call('ZADD', PENDING, now_ms() + ARGV[2], ARGV[1])
