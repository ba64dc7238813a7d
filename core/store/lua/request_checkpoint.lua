-- ARGV: id of a job -> 'ok', record | 'not_running', status | 'missing'
local id = ARGV[1]
local status = field(id, 'status')
if not status then return {'missing'} end
if status ~= 'running' then return {'not_running', status} end
redis.call('HINCRBY', job_key(id), 'checkpoints_asked', 1)
tell(id, 'checkpoint_requested', '')
touch(id)
return {'ok', redis.call('HGETALL', job_key(id))}
