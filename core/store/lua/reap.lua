-- ARGV: most jobs to look at -> ids of the jobs whose lease has run out
local ids = redis.call('ZRANGEBYSCORE', LEASES, '-inf', '(' .. now_ms(), 'LIMIT', 0, ARGV[1])
local reaped = {}
for _, id in ipairs(ids) do
  if HELD[field(id, 'status')] then
    lose(id, 'reap')
    reaped[#reaped + 1] = id
  else
    redis.call('ZREM', LEASES, id)
  end
end
return reaped
