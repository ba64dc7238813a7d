-- ARGV: id of a message -> 'ok', record | 'missing'. It is tried at once, and then for as long as a new one.
local id = ARGV[1]
if not field(id, 'status') then return {'missing'} end
set(id, 'since_ms', now_ms())
unset(id, 'once')
redis.call('HINCRBY', job_key(id), 'token', 1)
move_message(id, 'waiting', now_ms())
return {'ok', redis.call('HGETALL', job_key(id))}
