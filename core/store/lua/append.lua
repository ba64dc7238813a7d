-- ARGV: id, token, run or '' (its own rows), kind, first row, row after the last, last row's step, layout's first step,
-- layout's every, first step with a non-finite loss or '', then for each piece: chunk's name,
-- byte offset, the chunk's full size, bytes
-- -> 'ok', rows | 'stale' | 'gap', rows | 'irregular', row | 'bundled'
local id, kind = ARGV[1], ARGV[4]
if not holds(id, ARGV[2]) then return {'stale'} end
local of_run = ARGV[3] ~= ''
if of_run then id = ARGV[3] end
local first, stop, last_step = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local first_step, every = tonumber(ARGV[8]), tonumber(ARGV[9])
local found = redis.call('HMGET', job_key(id), 'rows:' .. kind, 'last:' .. kind, 'nonfinite:' .. kind,
  'segments:' .. kind)
if found[4] then return {'bundled'} end
local rows = tonumber(found[1]) or 0
if first > rows then return {'gap', rows} end

-- Only the last row may have a step off the grid.
if stop < rows and last_step ~= first_step + (stop - 1) * every then
  return {'irregular', stop - 1}
end
if first == rows and rows > 0 and tonumber(found[2]) ~= first_step + (rows - 1) * every then
  return {'irregular', rows - 1}
end

-- A chunk gets its full size at once, so that the allocator reserves nothing for growth; but the
-- first one of a series grows by copying, so that a run that ends early stays small.
local function size_for(name, need, full)
  if string.sub(name, -2) == ':0' then
    local size = 1024
    while size < need do size = size * 8 end
    return math.min(size, full)
  end
  return full
end

for i = 11, #ARGV, 4 do
  local key, offset, data = NS .. 'rows:' .. id .. ':' .. ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 3]
  local need, have = offset + #data, redis.call('STRLEN', key)
  if have < need then
    local size = size_for(ARGV[i], need, tonumber(ARGV[i + 2]))
    local old = have > 0 and redis.call('GET', key)
    redis.call('DEL', key)
    redis.call('SETRANGE', key, size - 1, '\0')
    if old then redis.call('SETRANGE', key, 0, old) end
  end
  redis.call('SETRANGE', key, offset, data)
end

if stop >= rows then
  rows = stop
  set(id, 'rows:' .. kind, stop, 'last:' .. kind, last_step)
end
if ARGV[10] ~= '' and (not found[3] or tonumber(ARGV[10]) < tonumber(found[3])) then
  set(id, 'nonfinite:' .. kind, ARGV[10])
end
return {'ok', rows}
