-- -> description of each worker that is not gone, by name, and the memory of its devices or false
local names = redis.call('ZRANGEBYSCORE', NS .. 'workers:until', '(' .. now_ms(), '+inf')
table.sort(names)
local out = {}
for _, name in ipairs(names) do
  out[#out + 1] = redis.call('HGET', NS .. 'workers', name)
  out[#out + 1] = redis.call('HGET', NS .. 'workers:memory', name)
end
return out
