-- ARGV: id -> 'ok', record | 'missing'. A job that is cancelling or terminal stays as it is.
local id = ARGV[1]
local status = field(id, 'status')
if not status then return {'missing'} end
local to = status == 'queued' and 'cancelled' or status == 'running' and 'cancelling'
if to and move(id, to) then
  set(id, 'cancel_requested_at', timestamp())
  announce(id)
end
return {'ok', redis.call('HGETALL', job_key(id))}
