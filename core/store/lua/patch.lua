-- ARGV: id of a job or study, version that it must have, new priority or '', ms since 1970 of a new
-- `keep_until`, or '' where that does not change, number of new labels or '', label=value ...,
-- labels as JSON or '', field, value ('' removes it) ...
-- -> 'ok', record | 'changed' | 'not_waiting', status | 'missing'
local id, priority, num_labels = ARGV[1], ARGV[3], tonumber(ARGV[5]) or 0
local found = redis.call('HMGET', job_key(id), 'status', 'version', 'queue', 'place')
local status = found[1]
if not status then return {'missing'} end
if found[2] ~= ARGV[2] then return {'changed'} end
if priority ~= '' and status ~= 'queued' and status ~= 'paused' then return {'not_waiting', status} end

-- A job's or task's place with another priority, by which alone it differs.
local function reorder(name, place)
  local new = 9 - priority .. string.sub(place, 2)
  set(name, 'place', new)
  if not is_study(name) and field(name, 'status') == 'queued' then
    dequeue(name, found[3], place)
    enqueue(name, found[3], new)
  end
end
if priority ~= '' then
  set(id, 'priority', priority)
  reorder(id, found[4])
  if is_study(id) then
    for _, task in ipairs(open_tasks(id)) do reorder(task, field(task, 'place')) end
  end
end

if ARGV[5] ~= '' then
  for name, value in pairs(cjson.decode(field(id, 'labels') or '{}')) do
    redis.call('ZREM', label_key(id, name .. '=' .. value), id)
  end
  for i = 6, 5 + num_labels do redis.call('ZADD', label_key(id, ARGV[i]), 0, id) end
  set(id, 'labels', ARGV[6 + num_labels])
end
set_fields(id, 7 + num_labels)
if ARGV[4] ~= '' then
  if field(id, 'keep_until') then set(id, 'keep_ms', ARGV[4]) else unset(id, 'keep_ms') end
  if TERMINAL[status] then set_apart_or_not(id) end
end
touch(id)
return {'ok', redis.call('HGETALL', job_key(id))}
