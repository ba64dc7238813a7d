-- ARGV: id, token, number of series of times, then for each: name of its value, times as pairs of
-- float64 (step, seconds); then for each run whose times lie in one of them: its name, what comes
-- before its entry's first space, the entry
-- -> 'ok', status | 'stale'
-- Of a series at most MOST_TIMES stay: where there would be more, those go that follow another after
-- less than 2/MOST_TIMES of the time from the first to the last.
local MOST_TIMES = 512
local held, status = holds(ARGV[1], ARGV[2])
if not held then return {'stale'} end
local study = study_of(ARGV[1])

local function step_at(text, place) return (struct.unpack('<d', text, place)) end
local function seconds_at(text, place) return (struct.unpack('<d', text, place + 8)) end

-- What holds of `kept` once the run has come to `step` again.
local function before(kept, step)
  local stop = #kept
  while stop > 0 and step_at(kept, stop - 15) >= step do stop = stop - 16 end
  return stop
end

local function thinned(all)
  local last = #all - 15
  local least = (seconds_at(all, last) - seconds_at(all, 1)) * 2 / MOST_TIMES
  local kept, latest = {string.sub(all, 1, 16)}, seconds_at(all, 1)
  for place = 17, last - 16, 16 do
    if seconds_at(all, place) > latest + least then
      kept[#kept + 1], latest = string.sub(all, place, place + 15), seconds_at(all, place)
    end
  end
  kept[#kept + 1] = string.sub(all, last)
  return table.concat(kept)
end

local at = 4
for _ = 1, tonumber(ARGV[3]) do
  local key, added = NS .. 'rows:' .. ARGV[at], ARGV[at + 1]
  local old = redis.call('GET', key) or ''
  local all = old
  for place = 1, #added, 16 do
    local stop = before(all, step_at(added, place))
    if stop < #all then all = string.sub(all, 1, stop) end
    all = all .. string.sub(added, place, place + 15)
    if #all > 16 * MOST_TIMES then all = thinned(all) end
  end
  if old ~= '' and string.sub(all, 1, #old) == old then
    if #all > #old then redis.call('APPEND', key, string.sub(all, #old + 1)) end
  else
    redis.call('SET', key, all)
  end
  if study then redis.call('SADD', bundles_key(study), ARGV[at]) end
  at = at + 2
end

-- A run has an entry for each of its tasks; that of a task begins with its name.
for i = at, #ARGV, 3 do
  local run, task, entries = ARGV[i], ARGV[i + 1], ''
  for entry in string.gmatch(field(run, 'times') or '', '[^;]+;') do
    if string.sub(entry, 1, #task) ~= task then entries = entries .. entry end
  end
  set(run, 'times', entries .. ARGV[i + 2])
end
return {'ok', status}
