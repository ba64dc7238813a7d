-- ARGV: most to look at -> ids of the data sets that are gone: past their age, and used by no job or
-- study that has not ended (those of which one is stay for another age)
local ids = redis.call('ZRANGEBYSCORE', EXPIRIES, '-inf', '(' .. now_ms(), 'LIMIT', 0, ARGV[1])
local gone = {}
for _, id in ipairs(ids) do
  local status = field(id, 'status')
  if not status then
    redis.call('ZREM', EXPIRIES, id)
  elseif status == 'checking' or user_of(id) then
    put_off(id)
  else
    drop_data(id)
    gone[#gone + 1] = id
  end
end
-- Contents that were stored for a data set which then was not made.
for _, file in ipairs(redis.call('ZRANGEBYSCORE', PENDING, '-inf', '(' .. now_ms(), 'LIMIT', 0, ARGV[1])) do
  redis.call('ZREM', PENDING, file)
  redis.call('SADD', TRASH, file)
end
return gone
