-- ARGV: task (a plan), token, what its study becomes, how often that had been extended when the plan
-- was decided, field of the study, value ...
-- -> 'ok', the study's status | 'extended': runs have been added since, decide anew | 'stale'
local id, token, study = ARGV[1], ARGV[2], study_of(ARGV[1])
local held, status = holds(id, token)
if not held then
  local answer = ended_already(id, token, status, 'finish')
  if answer[1] == 'ok' then answer[2] = field(study, 'status') end
  return answer
end
if status ~= 'cancelling' and (field(study, 'num_extensions') or '0') ~= ARGV[4] then
  return {'extended'}
end
end_attempt(id, 'finished', 'finish')
if status == 'cancelling' then
  leave(id, 'cancelled')
else
  for i = 5, #ARGV, 2 do set(study, ARGV[i], ARGV[i + 1]) end
  move(id, 'succeeded')
  redis.call('SREM', open_key(study), id)
  end_study(study, ARGV[3])
end
touch(study)
return {'ok', field(study, 'status')}
