-- ARGV: most to look at -> ids of the uses of weights that are gone: past their age
local ids = redis.call('ZRANGEBYSCORE', USE_EXPIRIES, '-inf', '(' .. now_ms(), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do drop_use(id) end
return ids
