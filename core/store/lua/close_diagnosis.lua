-- ARGV: id, token, diagnosis or '', why there is none or '' -> 'ok' | 'stale'
-- Without both, the diagnosis is left to another worker.
local id = ARGV[1]
if not diagnoses(id, ARGV[2]) then return {'stale'} end
if ARGV[3] == '' and ARGV[4] == '' then
  redis.call('ZREM', DIAGNOSIS_LEASES, id)
  redis.call('ZADD', DIAGNOSES, now_ms(), id)
  return {'ok'}
end
if ARGV[3] ~= '' then set_diagnosis(id, ARGV[3]) end
settle_diagnosis(id, ARGV[4])
return {'ok'}
