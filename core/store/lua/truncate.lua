-- ARGV: id, token, run or '' (its own rows), kind, rows to keep, step of the last one kept (when
-- there is one) or '', then for each series: name of its chunks up to the number, rows a chunk,
-- bytes a row
-- -> 'ok', rows | 'stale'
local id, kind, keep = ARGV[1], ARGV[4], tonumber(ARGV[5])
if not holds(id, ARGV[2]) then return {'stale'} end
if ARGV[3] ~= '' then id = ARGV[3] end
local rows = tonumber(field(id, 'rows:' .. kind)) or 0
local bundle = field(id, 'bundle:' .. kind)
if keep >= rows and not bundle then return {'ok', rows} end
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

-- A history in a bundle goes on in chunks of its own. The bundle itself stays for the others.
local from, start, there
if bundle then
  from, start, there = string.match(bundle, '^(%S+) (%d+) (%d+)$')
  start = tonumber(start)
  unset(id, 'bundle:' .. kind)
end
for i = 7, #ARGV, 3 do
  local name, chunk_rows = NS .. 'rows:' .. id .. ':' .. ARGV[i], tonumber(ARGV[i + 1])
  local size = tonumber(ARGV[i + 2])
  if bundle then
    for first = 0, keep - 1, chunk_rows do
      local data = redis.call('GETRANGE', NS .. 'rows:' .. from, start + first * size,
        start + math.min(first + chunk_rows, keep) * size - 1)
      redis.call('SET', name .. first / chunk_rows, data)
    end
    start = start + there * size
  end
  for chunk = math.ceil(keep / chunk_rows), math.ceil(rows / chunk_rows) - 1 do
    redis.call('UNLINK', name .. chunk)
  end
end
if ARGV[3] == '' then publish(id) end
return {'ok', keep}
