-- ARGV: how many of those that have ended last, owner or '' (of all)
-- -> ids of the jobs and studies that have not ended, and of these
local most, owner, out = tonumber(ARGV[1]), ARGV[2], {}
local function is_seen(id)
  return owner == '' or redis.call('ZSCORE', owner_key(id, owner), id)
end

local MOST_LOOKED_AT, STEP = 10000, 500
local first, num_ended = 0, 0
while first < MOST_LOOKED_AT and num_ended < most do
  local ids = redis.call('ZREVRANGE', FINISHED, first, first + STEP - 1)
  for _, id in ipairs(ids) do
    if num_ended < most and is_seen(id) then
      out[#out + 1] = id
      num_ended = num_ended + 1
    end
  end
  if #ids < STEP then break end
  first = first + STEP
end

for _, of in ipairs({'job_', 'study_'}) do
  for status in pairs(MOVES) do
    if not TERMINAL[status] then
      local waiting, own = status_key(status, of), owner ~= '' and owner_key(of, owner)
      if own and redis.call('ZCARD', own) < redis.call('ZCARD', waiting) then
        waiting, own = own, waiting
      end
      for _, id in ipairs(redis.call('ZRANGE', waiting, 0, -1)) do
        if not own or redis.call('ZSCORE', own, id) then out[#out + 1] = id end
      end
    end
  end
end
return out
