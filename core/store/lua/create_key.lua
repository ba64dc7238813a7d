-- ARGV: id, digest of the token, field, value ... -> 'ok' | 'exists'
local id = ARGV[1]
if redis.call('EXISTS', key_key(id)) == 1 then return {'exists'} end
redis.call('HSET', key_key(id), unpack(ARGV, 3))
redis.call('ZADD', KEYS_MADE, 0, id)
redis.call('HSET', KEY_DIGESTS, ARGV[2], id)
return {'ok'}
