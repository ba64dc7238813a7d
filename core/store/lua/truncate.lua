-- ARGV: id, token, kind, rows to keep, step of the last one kept (when there is one),
-- or '', then for each series: name of its chunks up to the number, rows a chunk
-- -> 'ok', rows | 'stale'
local id, kind, keep = ARGV[1], ARGV[3], tonumber(ARGV[4])
if not holds(id, ARGV[2]) then return {'stale'} end
local rows = tonumber(field(id, 'rows:' .. kind)) or 0
if keep >= rows then return {'ok', rows} end
local nonfinite = tonumber(field(id, 'nonfinite:' .. kind))
if keep == 0 then
  unset(id, 'rows:' .. kind, 'last:' .. kind, 'nonfinite:' .. kind)
else
  set(id, 'rows:' .. kind, keep, 'last:' .. kind, ARGV[5])
  if nonfinite and nonfinite > tonumber(ARGV[5]) then unset(id, 'nonfinite:' .. kind) end
end
for i = 6, #ARGV, 2 do
  local name, chunk_rows = NS .. 'rows:' .. id .. ':' .. ARGV[i], tonumber(ARGV[i + 1])
  for chunk = math.ceil(keep / chunk_rows), math.ceil(rows / chunk_rows) - 1 do
    redis.call('UNLINK', name .. chunk)
  end
end
publish(id)
return {'ok', keep}
