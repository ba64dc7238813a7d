-- -> counts (field, value, ...), records {noun, status, number} ..., queues {queue, how many wait,
-- how many of them for a limit of their key, place of the first of the others of each priority ...}
-- ..., held {queue, attempt's device or '', job or study, a job's
-- progress or '', a study's updates and start or '',
-- worker, latest sample of a job's process or ''} ..., asked diagnoses that wait, messages of webhooks that wait
-- {number, ms since 1970 from which the first is tried}
local records = {}
for noun, id in pairs({job = 'job_', study = 'study_'}) do
  for status in pairs(MOVES) do
    records[#records + 1] = {noun, status, redis.call('ZCARD', status_key(status, id))}
  end
end

-- How much more work of each key may begin now; false: its limits do not say.
local left = {}
local function left_of(key)
  if left[key] == nil then
    local running = limits_of(key).running
    left[key] = may_not_begin(key) and 0
      or running and tonumber(running) - (look_at_work().keys[key] or 0)
  end
  return left[key]
end

-- How much in a queue waits for a limit of its key; and its keys, with whether any of theirs may begin.
local function limited_in(queue)
  local keys, num = {}, 0
  for rank = 0, 9 do
    for _, key in ipairs(redis.call('SMEMBERS', waiting_keys(queue, rank))) do keys[key] = true end
  end
  for key in pairs(keys) do
    local most = left_of(key)
    if most then
      local waiting = redis.call('ZCARD', key_queue(queue, key))
      local begin = math.min(waiting, most)
      num, keys[key], left[key] = num + waiting - begin, begin > 0, most - begin
    end
  end
  return num, keys
end

local function first_of(queue, rank)
  return redis.call('ZRANGEBYLEX', queue, '[' .. rank .. ':', '(' .. rank .. ';', 'LIMIT', 0, 1)[1]
end

local queues = {}
local function look(queue)
  local length = redis.call('ZCARD', queue_key(queue))
  if length == 0 then return end
  local num_limited, keys = limited_in(queue)
  local found = {queue, length, num_limited}
  for rank = 0, 9 do
    local first = first_of(queue_key(queue), rank)
    local key = first and num_limited > 0 and field(string.match(first, '[^:]+$'), 'key_id')
    if key and not keys[key] then
      first = nil
      for other, begins in pairs(keys) do
        local place = begins and first_of(key_queue(queue, other), rank)
        if place and (not first or place < first) then first = place end
      end
    end
    found[#found + 1] = first
  end
  queues[#queues + 1] = found
end
for _, queue in ipairs({'any', 'auto', 'cpu', 'cuda'}) do look(queue) end
for number = 0, 99 do look('cuda:' .. number) end

local held = {}
for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  held[#held + 1] = {
    field(id, 'queue') or 'auto',
    field(id, attempt_field(id, 'device')) or '',
    study_of(id) or id,
    field(id, 'progress') or '',
    study_of(id) and field(study_of(id), 'updates') or '',
    study_of(id) and field(study_of(id), 'started_at') or '',
    field(id, attempt_field(id, 'worker')) or '',
    redis.call('LINDEX', NS .. 'rows:' .. id .. ':system', -1) or '',
  }
end
local waiting = status_key('waiting', 'msg_')
local first = redis.call('ZRANGE', waiting, 0, 0)[1]
local messages = {redis.call('ZCARD', waiting), first and field(first, 'since_ms') or ''}
return {redis.call('HGETALL', TOTALS), records, queues, held, redis.call('ZCARD', DIAGNOSES), messages}
