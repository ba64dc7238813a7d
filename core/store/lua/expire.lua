-- ARGV: oldest age of a terminal job in ms or '', how many of them to keep or '', most to take
-- -> ids that were put into the trash: those that ended first
local most = tonumber(ARGV[3])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEPT, '-inf', now_ms(), 'LIMIT', 0, most)) do
  set_apart_or_not(id)
end
local by_count, by_age = {}, {}
if ARGV[2] ~= '' then
  local excess = math.min(most, redis.call('ZCARD', FINISHED) - tonumber(ARGV[2]))
  if excess > 0 then by_count = redis.call('ZRANGE', FINISHED, 0, excess - 1) end
end
if ARGV[1] ~= '' then
  local limit = '(' .. string.format('%.0f', now_ms() - tonumber(ARGV[1]))
  by_age = redis.call('ZRANGEBYSCORE', FINISHED, '-inf', limit, 'LIMIT', 0, most)
end
-- Both start at the same end: the longer holds the shorter.
local out = {}
for _, id in ipairs(#by_age > #by_count and by_age or by_count) do
  if TERMINAL[field(id, 'status')] then
    discard(id)
    out[#out + 1] = id
  else
    redis.call('ZREM', FINISHED, id)
  end
end
return out
