-- ARGV: task, token, its updates so far or '', device or '', then for each run: index, status,
-- outcome or '', record, rows that there must be ('<kind> <number> ...', or '')
-- -> 'ok', status | 'stale' | 'gap', rows. A run that has ended keeps its status: a record with another
-- one changes nothing.
local id = ARGV[1]
local held, status = holds(id, ARGV[2])
if not held then return {'stale'} end
local study = study_of(id)
for i = 5, #ARGV, 5 do
  local too_few = rows_short_of(run_of(study, ARGV[i]), ARGV[i + 4])
  if too_few then return {'gap', too_few} end
end
if ARGV[3] ~= '' then
  local more = tonumber(ARGV[3]) - (tonumber(field(id, 'updates')) or 0)
  redis.call('HINCRBY', job_key(study), 'updates', string.format('%.0f', more))
  set(id, 'updates', ARGV[3])
end
if ARGV[4] ~= '' then set(id, attempt_field(id, 'device'), ARGV[4]) end
for i = 5, #ARGV, 5 do
  local run = run_of(study, ARGV[i])
  if field(run, 'status') == ARGV[i + 1] or set_run(study, ARGV[i], ARGV[i + 1], ARGV[i + 2]) then
    set(run, 'record', ARGV[i + 3])
  end
end
touch(study)
return {'ok', status}
