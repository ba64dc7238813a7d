-- ARGV: id, token, diagnosis or '', why there is none or '', its verdict -> 'ok' | 'stale'
-- Without both, the diagnosis is left to another worker.
local id = ARGV[1]
if not diagnoses(id, ARGV[2]) then return {'stale'} end
if ARGV[3] == '' and ARGV[4] == '' then
  redis.call('ZREM', DIAGNOSIS_LEASES, id)
  redis.call('ZADD', DIAGNOSES, now_ms(), id)
  return {'ok'}
end
if ARGV[3] ~= '' then
  set(id, 'diagnosis', ARGV[3])
  note_event('diagnosis', id)
  set_verdict(id, ARGV[5])
end
settle_diagnosis(id, ARGV[4])
return {'ok'}
