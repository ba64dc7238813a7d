-- ARGV: ms of a lease, id ...
for i = 2, #ARGV do
  if redis.call('ZSCORE', CHECKS, ARGV[i]) then
    redis.call('ZADD', CHECKS, now_ms() + ARGV[1], ARGV[i])
  end
end
