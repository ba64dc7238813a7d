-- ARGV: id, digest of the token, name ('': none), field, value ... -> 'ok' | 'exists'
-- | 'named', id of the key that has this name and is not revoked
local id, name = ARGV[1], ARGV[3]
if redis.call('EXISTS', key_key(id)) == 1 then return {'exists'} end
if name ~= '' then
  for _, other in ipairs(redis.call('ZREVRANGE', KEYS_MADE, 0, -1)) do
    local found = redis.call('HMGET', key_key(other), 'name', 'revoked_at')
    if found[1] == name and not found[2] then return {'named', other} end
  end
end
redis.call('HSET', key_key(id), unpack(ARGV, 4))
redis.call('ZADD', KEYS_MADE, 0, id)
redis.call('HSET', KEY_DIGESTS, ARGV[2], id)
return {'ok'}
