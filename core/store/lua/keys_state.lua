-- -> how many keys were made, and whether one of them is taken now (1, 0)
local ids = redis.call('ZREVRANGE', KEYS_MADE, 0, -1)
local now = timestamp()
for _, id in ipairs(ids) do
  local found = redis.call('HMGET', key_key(id), 'revoked_at', 'expires_at')
  if not found[1] and not (found[2] and found[2] <= now) then return {#ids, 1} end
end
return {#ids, 0}
