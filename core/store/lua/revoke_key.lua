-- ARGV: id -> 'ok', record | 'missing'. The record stays: what the key made names it.
local id = ARGV[1]
if redis.call('EXISTS', key_key(id)) == 0 then return {'missing'} end
redis.call('HSETNX', key_key(id), 'revoked_at', timestamp())
return {'ok', redis.call('HGETALL', key_key(id))}
