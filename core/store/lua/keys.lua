-- -> the hashes of all keys, the newest first
local out = {}
for i, id in ipairs(redis.call('ZREVRANGE', KEYS_MADE, 0, -1)) do
  out[i] = redis.call('HGETALL', key_key(id))
end
return out
