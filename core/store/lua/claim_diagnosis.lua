-- ARGV: worker, lease in ms -> 'ok', token, checkpoint, record | 'none'
if newer_format() then return {'none'} end
while true do
  local id = redis.call('ZPOPMIN', DIAGNOSES)[1]
  if not id then return {'none'} end
  local checkpoint = field(id, 'ask:checkpoint')
  if checkpoint then
    local token = redis.call('HINCRBY', job_key(id), 'ask:token', 1)
    redis.call('ZADD', DIAGNOSIS_LEASES, now_ms() + tonumber(ARGV[2]), id)
    set(id, 'ask:worker', ARGV[1])
    return {'ok', token, checkpoint, redis.call('HGETALL', job_key(id))}
  end
end
