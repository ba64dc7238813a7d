-- ARGV: worker, lease in ms, queue ...
-- -> 'job', record | 'task', record, its study's record | 'none' | 'newer', the store's format
-- A place sorts by priority, then by age; what may be claimed stands in one queue only.
local newer = newer_format()
if newer then return {'newer', newer} end
while true do
  local best, queue
  for i = 3, #ARGV do
    local place = redis.call('ZRANGE', queue_key(ARGV[i]), 0, 0)[1]
    if place and (not best or place < best) then best, queue = place, ARGV[i] end
  end
  if not best then return {'none'} end

  local id = string.match(best, '[^:]+$')
  if move(id, 'running') then
    local number = redis.call('HINCRBY', job_key(id), 'attempts', 1)
    local stamp = timestamp()
    redis.call('HINCRBY', job_key(id), 'token', 1)
    redis.call('HSETNX', job_key(id), 'started_at', stamp)
    set(id, 'a:' .. number .. ':worker', ARGV[1], 'a:' .. number .. ':started_at', stamp)
    redis.call('ZADD', LEASES, now_ms() + tonumber(ARGV[2]), id)
    local study = study_of(id)
    if not study then
      tell(id, 'claimed', ARGV[1])
    else
      if field(study, 'status') == 'queued' then
        move(study, 'running')
        set(study, 'started_at', stamp)
        tell(study, 'claimed', ARGV[1])
      end
      for index in string.gmatch(field(id, 'runs') or '', '%d+') do
        set_run(study, index, 'running')
      end
    end
    touch(id)
    local record = redis.call('HGETALL', job_key(id))
    if study then return {'task', record, redis.call('HGETALL', job_key(study))} end
    return {'job', record}
  end
  redis.call('ZREM', queue_key(queue), best)  -- no queued job stands behind this entry
end
