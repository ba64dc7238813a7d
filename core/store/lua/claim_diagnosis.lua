-- ARGV: worker, lease in ms, its kind ('gpu' or 'cpu'), ms for which one is left to the kind that its
-- job's queue is left to -> 'ok', token, checkpoint, record | 'none'
if newer_format() then return {'none'} end
local now = now_ms()
local waiting = redis.call('ZRANGE', DIAGNOSES, 0, 99, 'WITHSCORES')
for i = 1, #waiting, 2 do
  local id = waiting[i]
  local found = redis.call('HMGET', job_key(id), 'ask:checkpoint', 'queue')
  local checkpoint, queue = found[1], found[2]
  local wanted = WANTED[queue] or queue ~= 'any' and 'gpu' or ARGV[3]
  local is_fresh = math.abs(now - tonumber(waiting[i + 1])) < tonumber(ARGV[4])
  if not checkpoint then
    redis.call('ZREM', DIAGNOSES, id)
  elseif wanted == ARGV[3] or not (is_fresh and takes_work(wanted)) then
    redis.call('ZREM', DIAGNOSES, id)
    local token = redis.call('HINCRBY', job_key(id), 'ask:token', 1)
    redis.call('ZADD', DIAGNOSIS_LEASES, now + tonumber(ARGV[2]), id)
    set(id, 'ask:worker', ARGV[1])
    return {'ok', token, checkpoint, redis.call('HGETALL', job_key(id))}
  end
end
return {'none'}
