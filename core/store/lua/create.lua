-- ARGV: id (of a job or study), most queued ones, idempotency key or '', fingerprint, seconds to remember it,
-- data sets that it uses (with spaces between), key that makes it or '', number of labels, label=value ..., field, value ...
-- (queue, place and created_at among them)
-- -> 'created', position, number of workers | 'replayed', the same, record | 'reused' | 'deleted', id | 'full'
-- | 'limit', its name, itself, what there is, seconds to wait
-- | 'no_data', id of a data set that is not there (any more)
local id, fingerprint = ARGV[1], ARGV[4]
local memory = NS .. 'idempotency:' .. kind_of(id) .. ARGV[3]
if ARGV[3] ~= '' then
  local known = redis.call('HMGET', memory, 'fingerprint', 'job')
  if known[1] then
    if known[1] ~= fingerprint then return {'reused'} end
    local record = redis.call('HGETALL', job_key(known[2]))
    if #record == 0 then return {'deleted', known[2]} end
    return {'replayed', told_position(known[2]), num_workers(), record}
  end
end
if redis.call('ZCARD', status_key('queued', id)) >= tonumber(ARGV[2]) then return {'full'} end
local limit = ARGV[7] ~= '' and limit_reached(ARGV[7])
if limit then return limit end

for used in string.gmatch(ARGV[6], '%S+') do
  if field(used, 'status') ~= 'ready' then return {'no_data', used} end
end
for used in string.gmatch(ARGV[6], '%S+') do
  redis.call('SADD', users_key(used), id)
  put_off(used)
end

local num_labels = tonumber(ARGV[8])
for i = 9, 8 + num_labels do redis.call('ZADD', label_key(id, ARGV[i]), 0, id) end
set(id, 'status', 'queued', 'version', 1, unpack(ARGV, 9 + num_labels))
if is_study(id) then
  add_task(id, 0, 0, 'kind', 'plan')
else
  local where = redis.call('HMGET', job_key(id), 'queue', 'place')
  enqueue(id, where[1], where[2])
  call_workers(where[1])
end
redis.call('ZADD', status_key('queued', id), 0, id)
redis.call('ZADD', index_key(id), 0, id)
enter_owner(id)
count_waiting(id, true)
add_to_total('created', is_study(id) and 'study' or 'job', device_class(field(id, 'queue')))
note_event('status', id)
if ARGV[3] ~= '' then
  redis.call('HSET', memory, 'fingerprint', fingerprint, 'job', id)
  redis.call('EXPIRE', memory, ARGV[5])
end
return {'created', told_position(id), num_workers()}
