-- ARGV: worker, lease in ms, its kind ('gpu' or 'cpu'), queue, memory of the device that it is for
-- (0: not known) ...
-- -> 'job', record | 'task', record, its study's record | 'none' | 'newer', the store's format
-- A place sorts by priority, then by age; what may be claimed stands in one queue only.
local newer = newer_format()
if newer then return {'newer', newer} end

-- In format 2 what asks for `auto` and for `cpu` stood in one queue, `any`. At most 100 places, or
-- 1 MB of specs, find their queue in one call.
local num_bytes = 0
for _, place in ipairs(redis.call('ZRANGE', queue_key('any'), 0, 99)) do
  local id = string.match(place, '[^:]+$')
  local owner = study_of(id) or id
  local queue = field(owner, 'queue')
  if queue == 'any' then
    local spec = field(owner, 'spec') or ''
    if num_bytes > 0 and num_bytes + #spec > 1000000 then break end
    num_bytes = num_bytes + #spec
    local is_read, found = pcall(cjson.decode, spec)
    queue = is_read and (found.base or found).device == 'cpu' and 'cpu' or 'auto'
    set(owner, 'queue', queue)
  end
  redis.call('ZREM', queue_key('any'), place)
  if field(id, 'status') == 'queued' then
    set(id, 'queue', queue)
    redis.call('ZADD', queue_key(queue), 0, place)
    call_workers(queue)
  end
end

local queues = {}
-- How many of a queue's first places are left to larger workers; at most 1000 are looked at.
local left, room = {}, {}
for i = 4, #ARGV, 2 do
  local wanted = WANTED[ARGV[i]]
  if not wanted or wanted == ARGV[3] or not takes_work(wanted) then
    queues[#queues + 1] = ARGV[i]
    left[ARGV[i]], room[ARGV[i]] = 0, tonumber(ARGV[i + 1])
  end
end
while true do
  local best, queue
  for _, each in ipairs(queues) do
    local place = left[each] < 1000 and redis.call('ZRANGE', queue_key(each), left[each], left[each])[1]
    if place and (not best or place < best) then best, queue = place, each end
  end
  if not best then return {'none'} end

  local id = string.match(best, '[^:]+$')
  if is_left_to_larger(id, queue, room[queue]) then
    left[queue] = left[queue] + 1
  elseif move(id, 'running') then
    local number = redis.call('HINCRBY', job_key(id), 'attempts', 1)
    local stamp = timestamp()
    redis.call('HINCRBY', job_key(id), 'token', 1)
    local is_start = redis.call('HSETNX', job_key(id), 'started_at', stamp) == 1
    set(id, 'a:' .. number .. ':worker', ARGV[1], 'a:' .. number .. ':started_at', stamp,
      'began', now_ms())
    redis.call('ZADD', LEASES, now_ms() + tonumber(ARGV[2]), id)
    local study = study_of(id)
    if not study then
      tell(id, 'claimed', ARGV[1])
      if is_start then note_hook(id, 'started') end
    else
      if field(study, 'status') == 'queued' then
        move(study, 'running')
        local is_first = redis.call('HSETNX', job_key(study), 'started_at', stamp) == 1
        local since = not is_first and field(study, 'paused_ms')
        if since then redis.call('HINCRBY', job_key(study), 'idle_ms', math.max(0, now_ms() - since)) end
        unset(study, 'paused_ms')
        tell(study, 'claimed', ARGV[1])
        if is_first then note_hook(study, 'started') end
      end
      for index in string.gmatch(field(id, 'runs') or '', '%d+') do
        set_run(study, index, 'running')
      end
    end
    touch(id)
    local record = redis.call('HGETALL', job_key(id))
    if study then return {'task', record, redis.call('HGETALL', job_key(study))} end
    return {'job', record}
  else
    redis.call('ZREM', queue_key(queue), best)  -- no queued job stands behind this entry
  end
end
