-- ARGV: name of a worker that is dead, how often a diagnosis or a use may lose its worker
-- -> ids of the jobs and tasks that it held. Their leases need not run out.
local lost = {}
for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  if HELD[field(id, 'status')] and field(id, attempt_field(id, 'worker')) == ARGV[1] then
    lose(id, 'reap')
    lost[#lost + 1] = id
  end
end
for _, id in ipairs(redis.call('ZRANGE', DIAGNOSIS_LEASES, 0, -1)) do
  if field(id, 'ask:worker') == ARGV[1] then lose_diagnosis(id, ARGV[2]) end
end
for _, id in ipairs(redis.call('ZRANGE', USE_LEASES, 0, -1)) do
  if field(id, 'worker') == ARGV[1] then lose_use(id, ARGV[2]) end
end
forget(ARGV[1])
return lost
