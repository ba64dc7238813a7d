-- ARGV: id of a job or study, what its place is to be behind in time (as ids have it)
-- -> 'ok', record | 'illegal', status | 'missing' | 'limit', ... (see `create`)
-- What is paused waits again, behind all that wait with its priority; a pause that was not reached is
-- withdrawn, and what had been taken out of the queue for it gets its old place back.
local id = ARGV[1]
local status = field(id, 'status')
if not status then return {'missing'} end
if status == 'cancelling' or TERMINAL[status] then return {'illegal', status} end

local function last_place(stamp)
  local where = redis.call('HMGET', job_key(id), 'queue', 'place')
  local priority = string.sub(where[2], 1, 1)
  local last = redis.call('ZREVRANGEBYLEX', queue_key(where[1]), '(' .. priority .. ';',
    '[' .. priority .. ':', 'LIMIT', 0, 1)[1]
  local before = last and string.match(last, '^%d:([^:]+)')
  if before and before >= stamp then stamp = before .. 'z' end
  return priority .. ':' .. stamp
end

if pause_asked(id) then
  local key = status == 'paused' and field(id, 'key_id')
  local full = key and queue_full(key)
  if full then return full end
  unset(id, 'pause_requested_at')
  tell(id, 'resumed', '')
  local place = status == 'paused' and last_place(ARGV[2])
  if is_study(id) then
    if place then set(id, 'place', place) end
    local first
    for _, task in ipairs(open_tasks(id)) do
      if field(task, 'status') == 'paused' then
        if place then set(task, 'place', place .. ':' .. task) end
        move(task, 'queued')
        first = first or string.match(task, '/(.*)$')
      end
    end
    if first then set(id, 'first_task', first) end
  elseif place then
    set(id, 'place', place .. ':' .. id)
  end
  if place then move(id, 'queued') end
  touch(id)
end
return {'ok', redis.call('HGETALL', job_key(id))}
