-- ARGV: what to look at ('job_', 'study_' or 'data_'), owner, upper end ('+' or '(id'), most to look at
-- -> how many that had no owner have this one now, where to go on ('(id', or '' at the end)
local owner, most = ARGV[2], tonumber(ARGV[4])
local ids = redis.call('ZREVRANGEBYLEX', index_key(ARGV[1]), ARGV[3], '-', 'LIMIT', 0, most)
local adopted = 0
for _, id in ipairs(ids) do
  if redis.call('HSETNX', job_key(id), 'owner', owner) == 1 then
    redis.call('ZADD', owner_key(id, owner), 0, id)
    adopted = adopted + 1
  end
end
return {adopted, #ids == most and '(' .. ids[#ids] or ''}
