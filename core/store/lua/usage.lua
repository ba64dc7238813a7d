-- ARGV: of what ('job_' or 'study_'), most to look at, upper end ('+' or '(id'), lower end ('-' or
-- '[id'), oldest time of creation or '', name of a label or '' (by key), owner or '' (of all)
-- -> where to go on ('(id', or '' at the end), then for each value of the label or each key ('=value',
-- or '' of those without it): itself, how many, device_s, cpu_s, peak_memory_bytes, stored_bytes
local of, look, since, label = ARGV[1], tonumber(ARGV[2]), ARGV[5], ARGV[6]
local from = ARGV[7] ~= '' and owner_key(of, ARGV[7]) or index_key(of)
local ids = redis.call('ZREVRANGEBYLEX', from, ARGV[3], ARGV[4], 'LIMIT', 0, look)
local groups, order = {}, {}
for _, id in ipairs(ids) do
  local found = redis.call('HMGET', job_key(id), 'created_at', 'usage:device_s', 'usage:cpu_s',
    'usage:peak_memory_bytes', 'usage:stored_bytes', label ~= '' and 'labels' or 'key_id')
  if found[1] and (since == '' or found[1] >= since) then
    local value = ''
    local own = found[6]
    if label ~= '' then own = cjson.decode(own or '{}')[label] end
    if own then value = '=' .. own end
    local sums = groups[value]
    if not sums then
      sums = {0, 0, 0, 0, 0}
      groups[value], order[#order + 1] = sums, value
    end
    sums[1] = sums[1] + 1
    sums[2] = sums[2] + (tonumber(found[2]) or 0)
    sums[3] = sums[3] + (tonumber(found[3]) or 0)
    sums[4] = math.max(sums[4], tonumber(found[4]) or 0)
    sums[5] = sums[5] + (tonumber(found[5]) or 0)
  end
end
local out = {#ids == look and '(' .. ids[#ids] or ''}
for _, value in ipairs(order) do
  out[#out + 1] = value
  for _, sum in ipairs(groups[value]) do out[#out + 1] = string.format('%.17g', sum) end
end
return out
