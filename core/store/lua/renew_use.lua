-- ARGV: id, token, lease in ms -> 'ok' | 'stale'
if not uses(ARGV[1], ARGV[2]) then return {'stale'} end
redis.call('ZADD', USE_LEASES, now_ms() + tonumber(ARGV[3]), ARGV[1])
return {'ok'}
