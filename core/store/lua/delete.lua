-- ARGV: id -> 'ok' | 'not_terminal', status | 'missing'
-- The job is gone for all readers; it lies in the trash until the caller, or a worker, has freed its
-- artifacts and rows. Asked again before that, the answer is the same.
local id = ARGV[1]
local status = field(id, 'status')
if status then
  if not TERMINAL[status] then return {'not_terminal', status} end
  discard(id)
elseif redis.call('EXISTS', NS .. 'trash:' .. id) == 0 then
  return {'missing'}
end
return {'ok'}
