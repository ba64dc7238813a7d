-- ARGV: id, token, run or '' (its own rows), kind, rows to keep, step of the last one kept (when
-- there is one) or '', then for each series: name of its chunks up to the number, rows a chunk
-- -> 'ok', rows | 'stale'
local id, kind, keep = ARGV[1], ARGV[4], tonumber(ARGV[5])
if not holds(id, ARGV[2]) then return {'stale'} end
if ARGV[3] ~= '' then id = ARGV[3] end
local rows = tonumber(field(id, 'rows:' .. kind)) or 0
if keep >= rows then return {'ok', rows} end
local nonfinite = tonumber(field(id, 'nonfinite:' .. kind))
if keep == 0 then
  unset(id, 'rows:' .. kind, 'last:' .. kind, 'nonfinite:' .. kind)
else
  set(id, 'rows:' .. kind, keep, 'last:' .. kind, ARGV[6])
  if nonfinite and nonfinite > tonumber(ARGV[6]) then unset(id, 'nonfinite:' .. kind) end
end
for i = 7, #ARGV, 2 do
  local name, chunk_rows = NS .. 'rows:' .. id .. ':' .. ARGV[i], tonumber(ARGV[i + 1])
  for chunk = math.ceil(keep / chunk_rows), math.ceil(rows / chunk_rows) - 1 do
    redis.call('UNLINK', name .. chunk)
  end
end
if ARGV[3] == '' then publish(id) end
return {'ok', keep}
