-- ARGV: the format of whoever opens the store -> the format that the store has from now on, or what
-- stands in its place: a newer one, or no number
local key = NS .. 'format'
local kind = redis.call('TYPE', key)['ok']
if kind ~= 'none' and kind ~= 'string' then return 'a ' .. kind end
local known = redis.call('GET', key)
if known and not (string.match(known, '^[1-9]%d*$') and tonumber(known) < tonumber(ARGV[1])) then
  return known
end
redis.call('SET', key, ARGV[1])
return ARGV[1]
