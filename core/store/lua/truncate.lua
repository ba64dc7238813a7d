-- ARGV: id, token, run or '' (its own rows), kind, rows to keep, step of the last one kept (when
-- there is one) or '', how often the attempt has gone back so far or '' (not counted), '1' where this
-- cut is the last of these times or '', then for each series: name of its chunks up to the number,
-- rows a chunk, bytes a row
-- -> 'ok', rows | 'stale'
local id, kind, keep = ARGV[1], ARGV[4], tonumber(ARGV[5])
if not holds(id, ARGV[2]) then return {'stale'} end
if ARGV[3] ~= '' then id = ARGV[3] end
local rows = tonumber(field(id, 'rows:' .. kind)) or 0

-- `rewinds` lists the rows that the history has gone back to. An attempt that resumes before such a
-- time takes its entry back, and makes the rows anew that were left: readers who have seen what came
-- after wait for that.
local noted, is_back = field(id, 'rewinds:' .. kind) or '', ARGV[8] == '1'
local kept = noted
if ARGV[7] ~= '' then
  local most = tonumber(ARGV[7]) - (is_back and 1 or 0)
  kept = ''
  for entry in string.gmatch(noted, '%d+;') do
    if most > 0 then kept, most = kept .. entry, most - 1 end
  end
end
if is_back then kept = kept .. keep .. ';' end
if kept ~= noted then set(id, 'rewinds:' .. kind, kept) end

local segments = field(id, 'segments:' .. kind)
if keep >= rows and not segments then return {'ok', rows} end
if keep < rows then
  local nonfinite = tonumber(field(id, 'nonfinite:' .. kind))
  if keep == 0 then
    unset(id, 'rows:' .. kind, 'last:' .. kind, 'nonfinite:' .. kind)
  else
    set(id, 'rows:' .. kind, keep, 'last:' .. kind, ARGV[6])
    if nonfinite and nonfinite > tonumber(ARGV[6]) then unset(id, 'nonfinite:' .. kind) end
  end
end
keep = math.min(keep, rows)

-- A history in bundles goes on in chunks of its own. The bundles themselves stay for the others.
local held_in = {}  -- names, rows, and where the series at hand begins
if segments then
  for name, start, count in string.gmatch(segments, '(%S+) (%d+) (%d+);') do
    held_in[#held_in + 1] = {name = name, start = tonumber(start), rows = tonumber(count)}
  end
  unset(id, 'segments:' .. kind)
end
local function series_in_bundles(size)
  local parts = {}
  for i, segment in ipairs(held_in) do
    parts[i] = redis.call('GETRANGE', NS .. 'rows:' .. segment.name, segment.start,
      segment.start + segment.rows * size - 1)
    segment.start = segment.start + segment.rows * size
  end
  return table.concat(parts)
end
for i = 9, #ARGV, 3 do
  local name, chunk_rows = NS .. 'rows:' .. id .. ':' .. ARGV[i], tonumber(ARGV[i + 1])
  local size = tonumber(ARGV[i + 2])
  if segments then
    local series = series_in_bundles(size)
    for first = 0, keep - 1, chunk_rows do
      local stop = math.min(first + chunk_rows, keep)
      redis.call('SET', name .. first / chunk_rows,
        string.sub(series, first * size + 1, stop * size))
    end
  end
  for chunk = math.ceil(keep / chunk_rows), math.ceil(rows / chunk_rows) - 1 do
    redis.call('UNLINK', name .. chunk)
  end
end
return {'ok', keep}
