-- ARGV: id, token, lease in ms
-- -> 'ok', status, or 'pausing', or the number of a checkpoint that is to be kept | 'stale'
local held, status = holds(ARGV[1], ARGV[2])
if not held then return {'stale'} end
redis.call('ZADD', LEASES, now_ms() + tonumber(ARGV[3]), ARGV[1])
if status == 'running' then
  local asked = redis.call('HMGET', job_key(ARGV[1]), 'checkpoints_asked', 'checkpoints_kept')
  if pause_asked(ARGV[1]) then
    status = 'pausing'
  elseif tonumber(asked[1] or 0) > tonumber(asked[2] or 0) then
    status = asked[1]
  end
end
return {'ok', status}
