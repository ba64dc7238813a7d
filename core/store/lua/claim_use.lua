-- ARGV: worker, lease in ms, its kind ('gpu' or 'cpu'), ms for which one is left to the kind that its
-- job's device is left to -> 'ok', token, record | 'none'
if newer_format() then return {'none'} end
local now = now_ms()
local waiting = redis.call('ZRANGE', USES, 0, 99, 'WITHSCORES')
for i = 1, #waiting, 2 do
  local id = waiting[i]
  local device = field(id, 'device')
  local wanted = WANTED[device] or device ~= 'any' and 'gpu' or ARGV[3]
  local is_fresh = math.abs(now - tonumber(waiting[i + 1])) < tonumber(ARGV[4])
  if not device then
    redis.call('ZREM', USES, id)
  elseif wanted == ARGV[3] or not (is_fresh and takes_work(wanted)) then
    redis.call('ZREM', USES, id)
    local token = redis.call('HINCRBY', job_key(id), 'token', 1)
    redis.call('ZADD', USE_LEASES, now + tonumber(ARGV[2]), id)
    set(id, 'status', 'running', 'worker', ARGV[1], 'started_at', timestamp())
    touch(id)
    return {'ok', token, redis.call('HGETALL', job_key(id))}
  end
end
return {'none'}
