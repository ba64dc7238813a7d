-- ARGV: task, token, kind, the bundle's name, its bytes, then for each run of whose history it has
-- rows: name, first row, step that the row before it has on the grid, row after the last, last row's
-- step, first step with a non-finite loss or '', the segment. From row 0 on it takes the place of
-- all that was there.
-- -> 'ok', number of runs | 'stale' | 'gap', rows | 'irregular', row
local id, kind, name = ARGV[1], ARGV[3], ARGV[4]
if not holds(id, ARGV[2]) then return {'stale'} end

-- The segments that hold the rows before `first`, when they end there.
local function segments_before(run, first)
  if first == 0 then return '' end
  local all = field(run, 'segments:' .. kind) or ''
  local rows, stop = 0, 0
  while rows < first do
    local _, last, count = string.find(all, '^%S+ %d+ (%d+);', stop + 1)
    if not last then return nil end
    rows, stop = rows + tonumber(count), last
  end
  return rows == first and string.sub(all, 1, stop) or nil
end

local before = {}
for i = 6, #ARGV, 7 do
  local run, first = ARGV[i], tonumber(ARGV[i + 1])
  before[i] = segments_before(run, first)
  local rows = tonumber(field(run, 'rows:' .. kind)) or 0
  if not before[i] then return {'gap', rows} end
  if first > 0 and first == rows and field(run, 'last:' .. kind) ~= ARGV[i + 2] then
    return {'irregular', first - 1}
  end
end

redis.call('SET', NS .. 'rows:' .. name, ARGV[5])
redis.call('SADD', bundles_key(study_of(id)), name)
for i = 6, #ARGV, 7 do
  local run, nonfinite = ARGV[i], ARGV[i + 5]
  set(run, 'rows:' .. kind, ARGV[i + 3], 'last:' .. kind, ARGV[i + 4],
    'segments:' .. kind, before[i] .. ARGV[i + 6])
  if ARGV[i + 1] == '0' then unset(run, 'nonfinite:' .. kind) end
  if nonfinite ~= '' and not field(run, 'nonfinite:' .. kind) then
    set(run, 'nonfinite:' .. kind, nonfinite)
  end
end
return {'ok', (#ARGV - 5) / 7}
