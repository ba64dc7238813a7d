-- ARGV: name, description, ms until it counts as gone, the kind ('gpu' or 'cpu') that it takes work
-- as, or '', the memory of its devices
local ends = now_ms() + tonumber(ARGV[3])
redis.call('HSET', NS .. 'workers', ARGV[1], ARGV[2])
redis.call('HSET', NS .. 'workers:memory', ARGV[1], ARGV[5])
redis.call('ZADD', NS .. 'workers:until', ends, ARGV[1])
if ARGV[4] ~= '' then redis.call('ZADD', NS .. 'workers:' .. ARGV[4], ends, ARGV[1]) end
withdraw(ARGV[1], ARGV[4])
for _, name in ipairs(redis.call('ZRANGEBYSCORE', NS .. 'workers:until', '-inf', now_ms())) do
  forget(name)
end
return {'ok'}
