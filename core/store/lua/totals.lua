-- -> counts (field, value, ...), records {noun, status, number} ..., queues {queue, length, place of
-- the first of each priority ...} ..., held {queue, attempt's device or '', job or study, a job's
-- progress or '', a study's updates and start or '',
-- worker, latest sample of a job's process or ''} ..., asked diagnoses that wait, messages of webhooks that wait
-- {number, ms since 1970 from which the first is tried}
local records = {}
for noun, id in pairs({job = 'job_', study = 'study_'}) do
  for status in pairs(MOVES) do
    records[#records + 1] = {noun, status, redis.call('ZCARD', status_key(status, id))}
  end
end

local queues = {}
local function look(queue)
  local key = queue_key(queue)
  local length = redis.call('ZCARD', key)
  if length == 0 then return end
  local found = {queue, length}
  for rank = 0, 9 do
    found[#found + 1] = redis.call('ZRANGEBYLEX', key, '[' .. rank .. ':', '(' .. rank .. ';',
      'LIMIT', 0, 1)[1]
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
