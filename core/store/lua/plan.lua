-- ARGV: task (a plan), token, number of new runs, number of changed ones, then for each new run:
-- index, record, layout of its training rows or '', of its evaluation rows or ''; for each changed
-- one: index, status, outcome or '', record; for each task of the round: number, indices of its runs
-- with commas between, step to pause at or '' -> 'ok', status | 'stale'
local id, token, num_new, num_changed = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local held, status = holds(id, token)
if not held then return ended_already(id, token, status, 'plan') end
local study = study_of(id)
end_attempt(id, 'finished', 'plan')
if status == 'cancelling' then
  leave(id, 'cancelled')
  touch(study)
  return {'ok', 'cancelled'}
end

local at, planned = 5, tonumber(field(study, 'planned') or 0)
for _ = 1, num_new do
  local run = run_of(study, ARGV[at])
  if not field(run, 'status') then
    set(run, 'status', 'queued', 'record', ARGV[at + 1])
    if ARGV[at + 2] ~= '' then set(run, 'layout:train', ARGV[at + 2]) end
    if ARGV[at + 3] ~= '' then set(run, 'layout:eval', ARGV[at + 3]) end
    count(study, 'queued', 1)
    planned = math.max(planned, ARGV[at] + 1)
  end
  at = at + 4
end
set(study, 'planned', planned)
for _ = 1, num_changed do
  if set_run(study, ARGV[at], ARGV[at + 1], ARGV[at + 2]) then
    set(run_of(study, ARGV[at]), 'record', ARGV[at + 3])
  end
  at = at + 4
end
local round = field(id, 'round')
for i = at, #ARGV, 3 do
  add_task(study, round, ARGV[i], 'kind', 'train', 'runs', ARGV[i + 1], 'stop_step', ARGV[i + 2])
end
tell(study, 'phase', string.format('round %s: %d tasks', round, (#ARGV - at + 1) / 3))
leave(id, 'succeeded')
touch(study)
return {'ok', 'succeeded'}
