-- ARGV: most jobs to look at, how often a diagnosis may lose its worker
-- -> ids of the jobs whose lease has run out (their own, not that of a diagnosis)
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

local asked = redis.call('ZRANGEBYSCORE', DIAGNOSIS_LEASES, '-inf', '(' .. now_ms(),
  'LIMIT', 0, ARGV[1])
for _, id in ipairs(asked) do lose_diagnosis(id, ARGV[2]) end
return reaped
