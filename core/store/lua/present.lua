-- ARGV: how many of those that have ended last -> ids of the jobs and studies that have not ended, and
-- of these
local out = redis.call('ZREVRANGE', FINISHED, 0, ARGV[1] - 1)
for status in pairs(MOVES) do
  for _, of in ipairs({'job_', 'study_'}) do
    if not TERMINAL[status] then
      for _, id in ipairs(redis.call('ZRANGE', status_key(status, of), 0, -1)) do out[#out + 1] = id end
    end
  end
end
return out
