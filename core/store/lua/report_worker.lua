-- ARGV: name, description, ms until it counts as gone
local gone = redis.call('ZRANGEBYSCORE', NS .. 'workers:until', '-inf', now_ms())
for _, name in ipairs(gone) do
  redis.call('HDEL', NS .. 'workers', name)
  redis.call('ZREM', NS .. 'workers:until', name)
end
redis.call('HSET', NS .. 'workers', ARGV[1], ARGV[2])
redis.call('ZADD', NS .. 'workers:until', now_ms() + tonumber(ARGV[3]), ARGV[1])
return {'ok'}
