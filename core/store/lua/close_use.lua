-- ARGV: id, token, 'succeeded', 'failed', or '' (it is left to another worker), bytes of what was
-- made, field, value ... -> 'ok' | 'stale'
local id = ARGV[1]
if not uses(id, ARGV[2]) then return {'stale'} end
if ARGV[3] == '' then
  requeue_use(id)
  return {'ok'}
end
if #ARGV > 4 then set(id, unpack(ARGV, 5)) end
local bytes = tonumber(ARGV[4])
redis.call('HINCRBY', job_key(id), 'size_bytes', ARGV[4])
add_stored(id, bytes)
end_use(id, ARGV[3])
return {'ok'}
