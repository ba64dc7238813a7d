-- ARGV: name (of a job, a study, a run; or 'events', for the log) and its stamp as it is known or '', ...
-- -> for each that has another stamp now: its number, the stamp, and its hash as field, value, ...;
-- 'gone' and nothing of what is not there. The stamp of the log is the number of its last entry.
local out = {}
for i = 1, #ARGV, 2 do
  local name, stamp = ARGV[i], nil
  if name == 'events' then
    local last = redis.call('XREVRANGE', NS .. 'events', '+', '-', 'COUNT', 1)[1]
    stamp = last and string.match(last[1], '%d+$') or '0'
  else
    local found = redis.call('HMGET', job_key(name), 'status', 'version', 'rows:train', 'rows:eval',
      'rewinds:train', 'rewinds:eval')
    for k = 1, 6 do found[k] = found[k] or '' end
    stamp = found[1] == '' and 'gone' or table.concat(found, ' ')
  end
  if stamp ~= ARGV[i + 1] then
    local fields = name ~= 'events' and redis.call('HGETALL', job_key(name)) or {}
    out[#out + 1] = {(i - 1) / 2, stamp, fields}
  end
end
return out
