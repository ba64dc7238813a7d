-- ARGV: id, version that it must have or ''
-- -> 'ok' | 'not_terminal', status | 'kept', until when | 'changed' | 'missing'
-- The job is gone for all readers; it lies in the trash until the caller, or a worker, has freed its
-- artifacts and rows. Asked again before that, the answer is the same.
local id = ARGV[1]
local status = field(id, 'status')
if status then
  if ARGV[2] ~= '' and field(id, 'version') ~= ARGV[2] then return {'changed'} end
  if not TERMINAL[status] then return {'not_terminal', status} end
  if tonumber(field(id, 'keep_ms') or 0) > now_ms() then return {'kept', field(id, 'keep_until')} end
  discard(id)
elseif redis.call('EXISTS', NS .. 'trash:' .. id) == 0 then
  return {'missing'}
end
return {'ok'}
