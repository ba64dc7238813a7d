-- ARGV: id -> nothing; its last use was now
if redis.call('EXISTS', key_key(ARGV[1])) == 1 then
  redis.call('HSET', key_key(ARGV[1]), 'last_used_at', timestamp())
end
