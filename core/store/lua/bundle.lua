-- ARGV: task, token, kind, the bundle's name, its bytes, then for each run whose history they hold:
-- name, rows, last row's step, first step with a non-finite loss or '', where it lies
-- -> 'ok', number of runs | 'stale'
local id, kind, name = ARGV[1], ARGV[3], ARGV[4]
if not holds(id, ARGV[2]) then return {'stale'} end
redis.call('SET', NS .. 'rows:' .. name, ARGV[5])
redis.call('SADD', bundles_key(study_of(id)), name)
for i = 6, #ARGV, 5 do
  local run = ARGV[i]
  set(run, 'rows:' .. kind, ARGV[i + 1], 'last:' .. kind, ARGV[i + 2], 'bundle:' .. kind, ARGV[i + 4])
  if ARGV[i + 3] == '' then unset(run, 'nonfinite:' .. kind)
  else set(run, 'nonfinite:' .. kind, ARGV[i + 3]) end
end
return {'ok', (#ARGV - 5) / 5}
