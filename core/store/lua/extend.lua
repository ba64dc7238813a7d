-- ARGV: id of a study, how often it had been extended, its spec, runs, most updates and bytes of a run
-- from now on -> 'ok', record | 'changed': somebody was first | 'illegal', status | 'missing'
local id = ARGV[1]
local found = redis.call('HMGET', job_key(id), 'status', 'num_extensions', 'num_runs', 'need')
local status = found[1]
if not status then return {'missing'} end
if TERMINAL[status] or status == 'cancelling' then return {'illegal', status} end
if (found[2] or '0') ~= ARGV[2] then return {'changed'} end
redis.call('HINCRBY', job_key(id), 'num_extensions', 1)
set(id, 'spec', ARGV[3], 'num_runs', ARGV[4], 'max_updates', ARGV[5])
if tonumber(ARGV[6]) > tonumber(found[4] or 0) then set(id, 'need', ARGV[6]) end
tell(id, 'extended', string.format('%s to %s runs', found[3], ARGV[4]))
note_event('status', id)
touch(id)
return {'ok', redis.call('HGETALL', job_key(id))}
