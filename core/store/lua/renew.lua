-- ARGV: id, token, lease in ms -> 'ok', status or 'pausing' | 'stale'
local held, status = holds(ARGV[1], ARGV[2])
if not held then return {'stale'} end
redis.call('ZADD', LEASES, now_ms() + tonumber(ARGV[3]), ARGV[1])
if status == 'running' and pause_asked(ARGV[1]) then status = 'pausing' end
return {'ok', status}
