-- ARGV: id of a job or study -> 'ok', record | 'missing'. One that is cancelling or terminal stays as
-- it is. Of a study, what nobody works at is cancelled at once.
local id = ARGV[1]
local status = field(id, 'status')
if not status then return {'missing'} end
if not TERMINAL[status] and status ~= 'cancelling' then
  set(id, 'cancel_requested_at', timestamp())
  tell(id, 'cancel_requested', '')
  if not is_study(id) then
    local partial = field(id, 'partial')
    if partial and status ~= 'running' then set(id, 'result', partial) end
    move(id, status == 'running' and 'cancelling' or 'cancelled')
  else
    if status == 'running' then move(id, 'cancelling') end
    for _, task in ipairs(redis.call('SMEMBERS', open_key(id))) do
      if field(task, 'status') == 'running' then
        move(task, 'cancelling')
      else
        leave(task, 'cancelled')
      end
    end
  end
  touch(id)
end
return {'ok', redis.call('HGETALL', job_key(id))}
