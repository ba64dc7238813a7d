-- ARGV: most jobs to look at, how often a diagnosis or a use may lose its worker, ms of a lease
-- -> ids of the jobs whose lease has run out (their own, not that of a diagnosis or a use)

-- A lease that ends later than one that began now was given before the server's clock was set back.
local function shorten(leases, longest)
  local latest = now_ms() + longest
  local beyond = '(' .. string.format('%.0f', latest + 1000)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', leases, beyond, '+inf')) do
    redis.call('ZADD', leases, latest, name)
  end
end
shorten(LEASES, tonumber(ARGV[3]))
shorten(DIAGNOSIS_LEASES, tonumber(ARGV[3]))
shorten(USE_LEASES, tonumber(ARGV[3]))
for _, list in ipairs({'until', 'gpu', 'cpu'}) do
  shorten(NS .. 'workers:' .. list, 2 * tonumber(ARGV[3]))
end

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
local used = redis.call('ZRANGEBYSCORE', USE_LEASES, '-inf', '(' .. now_ms(), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(used) do lose_use(id, ARGV[2]) end
return reaped
