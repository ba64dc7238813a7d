-- ARGV: id, token, then rows of five float64 each: seconds of training first
-- -> 'ok', status | 'stale'
-- At most MOST_SAMPLES stay, the last. Those from the first new one's seconds on are of an attempt
-- that was lost, or came by a call that is repeated.
local MOST_SAMPLES = 2000
local held, status = holds(ARGV[1], ARGV[2])
if not held then return {'stale'} end
local key, first = NS .. 'rows:' .. ARGV[1] .. ':system', struct.unpack('<d', ARGV[3])
while true do
  local last = redis.call('LINDEX', key, -1)
  if not last or struct.unpack('<d', last) < first then break end
  redis.call('RPOP', key)
end
for i = 3, #ARGV do redis.call('RPUSH', key, ARGV[i]) end
redis.call('LTRIM', key, -MOST_SAMPLES, -1)
return {'ok', status}
