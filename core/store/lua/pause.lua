-- ARGV: id of a job or study -> 'ok', record | 'illegal', status | 'missing'
-- What waits is paused at once; who holds it, or a task of it, is asked to hand it over. Asked again,
-- nothing changes.
local id = ARGV[1]
local status = field(id, 'status')
if not status then return {'missing'} end
if not (MOVES[status]['paused'] or status == 'paused') then return {'illegal', status} end
if not pause_asked(id) then
  set(id, 'pause_requested_at', timestamp())
  local num_held = status == 'running' and 1 or 0
  if is_study(id) then
    local tasks
    tasks, num_held = open_tasks(id)
    for _, task in ipairs(tasks) do
      if field(task, 'status') == 'queued' then move(task, 'paused') end
    end
  end
  if num_held == 0 then move(id, 'paused') else tell(id, 'pause_requested', '') end
  touch(id)
end
return {'ok', redis.call('HGETALL', job_key(id))}
