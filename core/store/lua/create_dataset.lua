-- ARGV: id, idempotency key or '', fingerprint, seconds to remember it, status, ms of the check's
-- lease, content or '', its digest, key that makes it or '', bytes of the file, number of labels, label=value ..., field, value ...
-- -> 'created', content | 'replayed', record | 'reused' | 'deleted', id | 'limit', ... (see `create`)
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
local limit = ARGV[9] ~= '' and limit_reached(ARGV[9], tonumber(ARGV[10]))
if limit then return limit end
local num_labels = tonumber(ARGV[11])
for i = 12, 11 + num_labels do redis.call('ZADD', label_key(id, ARGV[i]), 0, id) end
set(id, 'status', status, 'version', 1, unpack(ARGV, 12 + num_labels))
redis.call('ZADD', status_key(status, id), 0, id)
redis.call('ZADD', index_key(id), 0, id)
enter_owner(id)
add_stored(id, tonumber(ARGV[10]))
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
