-- ARGV: most, ms of a lease, ms for which those that have ended stay, how many of them stay at most
-- -> number of secrets, secret ..., records of messages that are to be sent now
if newer_format() then return {0} end
local old = redis.call('ZRANGEBYSCORE', SENT, '-inf', now_ms() - ARGV[3], 'LIMIT', 0, 100)
local excess = math.min(100, redis.call('ZCARD', SENT) - ARGV[4])
if excess > #old then old = redis.call('ZRANGE', SENT, 0, excess - 1) end
for _, id in ipairs(old) do drop_message(id) end

-- A lease or a pause that a clock set back has made too long is left to the day's end: it is late, not
-- lost.
local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', now_ms(), 'LIMIT', 0, ARGV[1])
if #due == 0 then return {0} end
local out = redis.call('HVALS', NS .. 'webhook:secrets')
table.insert(out, 1, #out)
for _, id in ipairs(due) do
  if field(id, 'status') == 'waiting' then
    redis.call('HINCRBY', job_key(id), 'token', 1)
    redis.call('ZADD', DUE, now_ms() + ARGV[2], id)
    out[#out + 1] = redis.call('HGETALL', job_key(id))
  else
    redis.call('ZREM', DUE, id)
  end
end
return out
