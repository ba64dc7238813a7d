-- ARGV: most to look at, error (JSON) -> ids of the data sets whose check nobody does any more
local ids = redis.call('ZRANGEBYSCORE', CHECKS, '-inf', '(' .. now_ms(), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do
  set(id, 'error', ARGV[2])
  settle_data(id, 'refused')
end
return ids
