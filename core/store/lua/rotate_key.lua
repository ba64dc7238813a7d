-- ARGV: id, digest of the new token, ms for which the old one is still taken
-- -> 'ok', record | 'revoked' | 'missing'
local id = ARGV[1]
if redis.call('EXISTS', key_key(id)) == 0 then return {'missing'} end
if redis.call('HEXISTS', key_key(id), 'revoked_at') == 1 then return {'revoked'} end
local digests = redis.call('HGETALL', KEY_DIGESTS)
for i = 1, #digests, 2 do
  if digests[i + 1] == id then
    if tonumber(ARGV[3]) > 0 then
      local until_ms = string.format('%.0f', now_ms() + ARGV[3])
      redis.call('HSET', KEY_DIGESTS, digests[i], id .. ' ' .. until_ms)
    else
      redis.call('HDEL', KEY_DIGESTS, digests[i])
    end
  elseif string.sub(digests[i + 1], 1, #id + 1) == id .. ' ' then
    redis.call('HDEL', KEY_DIGESTS, digests[i])
  end
end
redis.call('HSET', KEY_DIGESTS, ARGV[2], id)
redis.call('HSET', key_key(id), 'rotated_at', timestamp())
return {'ok', redis.call('HGETALL', key_key(id))}
