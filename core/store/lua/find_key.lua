-- ARGV: digest of a token -> the key's hash; '' where it is nobody's. A token that was replaced is
-- taken until the time (ms) that stands behind its key's id.
local found = redis.call('HGET', KEY_DIGESTS, ARGV[1])
if not found then return '' end
local id, until_ms = string.match(found, '^(%S+) ?(%d*)$')
if until_ms ~= '' and tonumber(until_ms) <= now_ms() then return '' end
return redis.call('HGETALL', key_key(id))
