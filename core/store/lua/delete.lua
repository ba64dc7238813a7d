-- ARGV: id -> 'ok', record | 'not_terminal', status | 'missing'
-- The record leaves every index at once and lies in the trash until the caller has freed its rows;
-- asked again before that, the answer is the same.
local id = ARGV[1]
local trashed = NS .. 'trash:' .. id
local status = field(id, 'status')
if status then
  if not TERMINAL[status] then return {'not_terminal', status} end
  redis.call('ZREM', JOBS, id)
  redis.call('ZREM', status_key(status), id)
  for name, value in pairs(cjson.decode(field(id, 'labels') or '{}')) do
    redis.call('ZREM', NS .. 'label:' .. name .. '=' .. value, id)
  end
  redis.call('RENAME', job_key(id), trashed)
  redis.call('SADD', TRASH, id)
  publish(id)
elseif redis.call('EXISTS', trashed) == 0 then
  return {'missing'}
end
return {'ok', redis.call('HGETALL', trashed)}
