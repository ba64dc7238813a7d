-- ARGV: id, token, its status now, ms until the next try or '', number of tries, the last of them
-- -> 'ok' | 'stale'
-- Of a receiver that is gone, what else waits to be sent of the same job or study goes with it.
local id, to = ARGV[1], ARGV[3]
local found = redis.call('HMGET', job_key(id), 'token', 'status', 'subject', 'url')
if found[1] ~= ARGV[2] or found[2] ~= 'waiting' then return {'stale'} end
set(id, 'num_tries', ARGV[5], 'tries', ARGV[6])
add_to_total('webhook_try', to == 'delivered' and 'delivered' or 'failed')
move_message(id, to, to == 'waiting' and now_ms() + ARGV[4])
local subject = found[3]
if to == 'gone' and subject then
  if field(subject, 'status') then set(subject, 'hook:off', timestamp()) end
  for _, other in ipairs(redis.call('ZRANGE', label_key(id, 'of=' .. subject), 0, -1)) do
    local each = redis.call('HMGET', job_key(other), 'status', 'url')
    if each[1] == 'waiting' and each[2] == found[4] then move_message(other, 'gone') end
  end
end
return {'ok'}
