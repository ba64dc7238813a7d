-- -> descriptions of the workers that are not gone, by name
local names = redis.call('ZRANGEBYSCORE', NS .. 'workers:until', '(' .. now_ms(), '+inf')
table.sort(names)
local out = {}
for i, name in ipairs(names) do out[i] = redis.call('HGET', NS .. 'workers', name) end
return out
