-- ARGV: id, checkpoint -> 'ok' | 'missing' | 'not_terminal', status | 'pending', its checkpoint
-- Asking again for what is waiting or being done already changes nothing.
local id = ARGV[1]
local status = field(id, 'status')
if not status then return {'missing'} end
if not TERMINAL[status] then return {'not_terminal', status} end
local asked = field(id, 'ask:checkpoint')
if asked then return asked == ARGV[2] and {'ok'} or {'pending', asked} end
unset(id, 'ask:failed', 'ask:lost')
set(id, 'ask:checkpoint', ARGV[2])
redis.call('ZADD', DIAGNOSES, now_ms(), id)
touch(id)
return {'ok'}
