-- ARGV: id, idempotency key or '', fingerprint, seconds to remember it, status, ms of the check's
-- lease, content or '', its digest, number of labels, label=value ..., field, value ...
-- -> 'created', content | 'replayed', record | 'reused' | 'deleted', id
-- The content is the one given, or the one with the same digest that is there already.
local id, fingerprint, status = ARGV[1], ARGV[3], ARGV[5]
local memory = NS .. 'idempotency:' .. kind_of(id) .. ARGV[2]
if ARGV[2] ~= '' then
  local known = redis.call('HMGET', memory, 'fingerprint', 'job')
  if known[1] then
    if known[1] ~= fingerprint then return {'reused'} end
    local record = redis.call('HGETALL', job_key(known[2]))
    if #record == 0 then return {'deleted', known[2]} end
    return {'replayed', record}
  end
end
local num_labels = tonumber(ARGV[9])
for i = 10, 9 + num_labels do redis.call('ZADD', label_key(id, ARGV[i]), 0, id) end
set(id, 'status', status, 'version', 1, unpack(ARGV, 10 + num_labels))
redis.call('ZADD', status_key(status, id), 0, id)
redis.call('ZADD', index_key(id), 0, id)
enter_owner(id)
local file = ''
if status == 'checking' then
  redis.call('ZADD', CHECKS, now_ms() + ARGV[6], id)
else
  file = attach(id, ARGV[7], ARGV[8])
end
enter_expiry(id)
if ARGV[2] ~= '' then
  redis.call('HSET', memory, 'fingerprint', fingerprint, 'job', id)
  redis.call('EXPIRE', memory, ARGV[4])
end
return {'created', file}
