-- ARGV: what to list ('job_' or 'study_'), most ids to return, most to look at, upper end ('+' or
-- '(id'), lower end ('-' or '[id'), oldest time or '', owner or '' (of all), number of statuses,
-- status ..., label=value ...
-- -> ids (newest first), where to go on ('(id', or '' at the end)
local of, limit, look, upper, lower = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local since, wanted, num_statuses, statuses, labels = ARGV[6], {}, tonumber(ARGV[8]), {}, {}
for i = 9, 8 + num_statuses do
  wanted[ARGV[i]] = true
  statuses[#statuses + 1] = status_key(ARGV[i], of)
end
if ARGV[7] ~= '' then labels[1] = owner_key(of, ARGV[7]) end
for i = 9 + num_statuses, #ARGV do labels[#labels + 1] = label_key(of, ARGV[i]) end

-- Walk the smallest index (or indexes, of several statuses), and test the rest one by one.
local function total(keys)
  local sum = 0
  for _, key in ipairs(keys) do sum = sum + redis.call('ZCARD', key) end
  return sum
end
local walk = {index_key(of)}
if num_statuses > 0 then walk = statuses end
for _, key in ipairs(labels) do
  if total({key}) < total(walk) then walk = {key} end
end
local num_tests = #labels + (num_statuses > 0 and 1 or 0) + (since ~= '' and 1 or 0)
if num_tests <= 1 then look = math.min(look, limit) end

-- The newest `look` of each index: together they hold the newest `look` of all.
local candidates = {}
for _, key in ipairs(walk) do
  local ids = redis.call('ZREVRANGEBYLEX', key, upper, lower, 'LIMIT', 0, look)
  for _, id in ipairs(ids) do candidates[#candidates + 1] = id end
end
if #walk > 1 then table.sort(candidates, function(a, b) return a > b end) end

local function fits(id)
  for _, key in ipairs(labels) do
    if not redis.call('ZSCORE', key, id) then return false end
  end
  local found = redis.call('HMGET', job_key(id), 'status', 'created_at')
  return found[1] and (num_statuses == 0 or wanted[found[1]]) and (since == '' or found[2] > since)
end

local out = {}
for i = 1, math.min(#candidates, look) do
  local id = candidates[i]
  if fits(id) then out[#out + 1] = id end
  if #out == limit or i == look then return {out, '(' .. id} end
end
return {out, ''}
