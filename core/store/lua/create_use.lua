-- ARGV: id, idempotency key or '', fingerprint, seconds to remember it, job or study whose weights are
-- used, most that may wait, key that makes it or '', bytes of its rows, field, value ...
-- -> 'created' | 'known', record (the id is there already) | 'replayed', record | 'reused' |
-- 'deleted', id | 'missing' (the job or study is) | 'full' | 'limit', ... (see `create`)
local id, fingerprint, of = ARGV[1], ARGV[3], ARGV[5]
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
local there = redis.call('HGETALL', job_key(id))
if #there > 0 then return {'known', there} end
if not field(of, 'status') then return {'missing'} end
if redis.call('ZCARD', USES) >= tonumber(ARGV[6]) then return {'full'} end
local bytes = tonumber(ARGV[8])
local limit = ARGV[7] ~= '' and limit_reached(ARGV[7], bytes)
if limit then return limit end
set(id, 'status', 'queued', 'version', 1, unpack(ARGV, 9))
redis.call('SADD', uses_key(of), id)
redis.call('ZREM', PENDING, id)
add_stored(id, bytes)
redis.call('ZADD', USES, now_ms(), id)
if ARGV[2] ~= '' then
  redis.call('HSET', memory, 'fingerprint', fingerprint, 'job', id)
  redis.call('EXPIRE', memory, ARGV[4])
end
return {'created'}
