-- What every script shares. KEYS[1] is the namespace. MOVES, TERMINAL, HELD and MOST_ENTRIES
-- stand above: they are generated from core.jobs; so does FORMAT, from core.formats. A script either
-- does all of its change or writes nothing and returns a tag that says why: 'missing', 'stale',
-- 'illegal', ...

local NS = KEYS[1] .. ':'
local JOBS, LEASES, TRASH = NS .. 'jobs', NS .. 'leases', NS .. 'trash'
-- Terminal jobs and studies by the time of their end, for the retention.
local FINISHED = NS .. 'finished'
-- Those that the retention must leave, by the time (ms) until which they are kept.
local KEPT = NS .. 'kept'
-- Terminal jobs for which a diagnosis was asked, by the time of asking; and those being diagnosed,
-- by the end of their lease. A job's own fields say what was asked: `ask:checkpoint`, and the
-- fencing token of whoever works at it, `ask:token`.
local DIAGNOSES, DIAGNOSIS_LEASES = NS .. 'diagnoses', NS .. 'diagnosis:leases'

-- Uses of weights that wait for a worker, by the time of asking; those at work, by the end of their
-- lease; and those that have ended, by the time (ms) at which they expire. A set for each job or study
-- has the uses of its weights, which go with it.
local USES, USE_LEASES, USE_EXPIRIES = NS .. 'uses', NS .. 'use:leases', NS .. 'use:expiries'
local function uses_key(of) return NS .. 'uses-of:' .. of end

-- A name tells what it is of: a job ('job_...'), a study ('study_...'), a study's task
-- ('study_.../1.0') or its run ('study_...:7'), a data set ('data_...'), a message of a webhook
-- ('msg_...'), a use of weights ('pred_...', 'export_...'). Jobs and tasks are what workers claim.
local function study_of(name) return string.sub(name, 1, 6) == 'study_' and string.sub(name, 1, 32) end
local function is_task(name) return string.find(name, '/', 1, true) ~= nil end
local function is_study(name) return #name == 32 and string.sub(name, 1, 6) == 'study_' end
local function is_data(name) return string.sub(name, 1, 5) == 'data_' end
local function is_message(name) return string.sub(name, 1, 4) == 'msg_' end
local function is_use(name)
  return string.sub(name, 1, 5) == 'pred_' or string.sub(name, 1, 7) == 'export_'
end

-- The part of an index's name that tells whose it is: jobs have none.
local function kind_of(name)
  return is_task(name) and 'task-' or study_of(name) and 'study-' or is_data(name) and 'data-'
    or is_message(name) and 'msg-' or is_use(name) and 'use-' or ''
end

local function job_key(id)
  return NS .. (study_of(id) and 'study:' or is_data(id) and 'data:' or is_message(id) and 'msg:'
    or is_use(id) and 'use:' or 'job:') .. id
end
local function index_key(id)
  return study_of(id) and NS .. 'studies' or is_data(id) and NS .. 'datasets'
    or is_message(id) and NS .. 'msgs' or JOBS
end
local function label_key(id, label) return NS .. kind_of(id) .. 'label:' .. label end
local function owner_key(id, owner) return NS .. kind_of(id) .. 'owner:' .. owner end
local function status_key(status, id) return NS .. kind_of(id) .. 'status:' .. status end
local function queue_key(queue) return NS .. 'queue:' .. queue end

-- API keys: those that were made, the revoked ones among them; a hash for each; and the digests of
-- their tokens.
local KEYS_MADE, KEY_DIGESTS = NS .. 'keys', NS .. 'key-digests'
local function key_key(id) return NS .. 'key:' .. id end

-- The format of a newer version that has opened the store since we did; false while there is none.
local function newer_format()
  local found = redis.call('GET', NS .. 'format')
  return found and (tonumber(found) or 0) > FORMAT and found
end

-- Work of a key stands in its queue, and once more among the work of its key there. A set for each
-- priority has the keys of which some waits in a queue.
local function key_queue(queue, key) return queue_key(queue) .. '/' .. key end
local function waiting_keys(queue, priority) return queue_key(queue) .. '/keys:' .. priority end
-- Places of one priority, from the lower end on; and up to the upper one.
local function from_priority(priority) return '[' .. priority .. ':' end
local function to_priority(priority) return '(' .. priority .. ';' end

-- Counts of what has happened since the store was made, which no record may tell any more. They are
-- for whoever watches the service: nothing is decided by them.
local TOTALS = NS .. 'totals'
local function add_to_total(...)
  redis.call('HINCRBY', TOTALS, table.concat({...}, ' '), 1)
end

-- The class of the device that a queue is for, or that an attempt runs on.
local function device_class(name)
  return (name == 'any' or name == 'auto') and 'auto' or name == 'cpu' and 'cpu' or 'gpu'
end

local function field(id, name) return redis.call('HGET', job_key(id), name) end
local function set(id, ...) redis.call('HSET', job_key(id), ...) end
local function unset(id, ...) redis.call('HDEL', job_key(id), ...) end

-- Milliseconds since 1970 by the server's clock: the only clock that leases know. It is read once.
local milliseconds
local function now_ms()
  if not milliseconds then
    local time = redis.call('TIME')
    milliseconds = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return milliseconds
end

-- The moment of this call: RFC 3339, UTC, six fractional digits, written once. The date: Howard
-- Hinnant, "chrono-compatible low-level date algorithms" (civil_from_days), for days from 1970 on.
local moment
local function timestamp()
  if moment then return moment end
  local time = redis.call('TIME')
  local seconds, micros = tonumber(time[1]), tonumber(time[2])
  local z = math.floor(seconds / 86400) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
                          - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  local rest = seconds % 86400
  moment = string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month,
    doy - math.floor((153 * mp + 2) / 5) + 1, math.floor(rest / 3600),
    math.floor(rest % 3600 / 60), rest % 60, micros)
  return moment
end

-- The timeline with the middle taken out of it: the first half of the lines stays but for its last,
-- which counts what went.
local function without_middle(text)
  local lines = {}
  for line in string.gmatch(text, '[^\n]+') do lines[#lines + 1] = line end
  local half, at, gone = MOST_ENTRIES / 2, nil, nil
  while #lines > MOST_ENTRIES do
    at, gone = string.match(lines[half], '^(%S+) omitted (%d+)')
    if not at then at, gone = string.match(lines[half], '^%S+'), 1 end
    lines[half] = at .. ' omitted ' .. string.format('%d entries', gone + 1)
    table.remove(lines, half + 1)
  end
  return table.concat(lines, '\n') .. '\n'
end

-- Append lines (time, event and detail, with spaces between) to the timeline of a job or study.
-- One that is there already comes from a call that was repeated.
local function tell_lines(id, lines)
  local text = field(id, 'timeline') or ''
  for line in string.gmatch(lines, '[^\n]+') do
    if not string.find(text, line .. '\n', 1, true) then text = text .. line .. '\n' end
  end
  -- No line is shorter: most timelines need not be counted.
  if #text > 28 * MOST_ENTRIES then text = without_middle(text) end
  set(id, 'timeline', text)
end

-- Append an event of this moment; of a task, to its study's timeline.
local function tell(id, event, detail)
  tell_lines(study_of(id) or id, timestamp() .. ' ' .. event .. ' ' .. string.gsub(detail, '%c', ' '))
end

-- The log of what happened to jobs, studies and runs: the last LOG_LENGTH entries at least, numbered
-- 1-1, 1-2, ... without a gap. An entry says what (`status`, `diagnosis`, `end`, `run`), and to whom.
local LOG_LENGTH = 10000
local function note_event(what, name)
  -- Numbered here: servers before Redis 7 do not number the second half of an id themselves.
  local number = redis.call('INCR', NS .. 'events:last')
  local owner = field(study_of(name) or name, 'owner')
  redis.call('XADD', NS .. 'events', 'MAXLEN', '~', LOG_LENGTH, '1-' .. number,
    'e', what .. ' ' .. name, unpack(owner and {'o', owner} or {}))
end

-- Webhooks. A job or study with one has the URL, the format, and the events with a space on each side
-- (`hook:...`); `hook:off` once its receiver wants no more. A message is made in the script that makes
-- its event come true. DUE has those that wait, by the time (ms) of their next try or, while a
-- courier has one, of the end of its lease; SENT those that have ended, by that time.
local DUE, SENT = NS .. 'msgs:due', NS .. 'msgs:sent'
local LONGEST_COPY = 16384
local DIGITS = '0123456789abcdefghjkmnpqrstvwxyz'

local function base32(number, length)
  local text = ''
  for _ = 1, length do
    local digit = number % 32
    text = string.sub(DIGITS, digit + 1, digit + 1) .. text
    number = (number - digit) / 32
  end
  return text
end

-- Write a message that waits to be sent; `of`: the job or study, or ''. More fields may follow.
local function add_message(type, of, url, form, ...)
  local id = 'msg_' .. base32(now_ms(), 10) .. base32(redis.call('INCR', NS .. 'msgs:last'), 16)
  set(id, 'id', id, 'format', FORMAT, 'status', 'waiting', 'type', type, 'url', url, 'form', form,
    'created_at', timestamp(), 'since_ms', now_ms(), 'due_ms', now_ms(), 'version', 1, ...)
  if of ~= '' then
    set(id, 'subject', of)
    redis.call('ZADD', label_key(id, 'of=' .. of), 0, id)
  end
  local owner = field(id, 'owner')
  if owner then redis.call('ZADD', label_key(id, 'owner=' .. owner), 0, id) end
  redis.call('ZADD', index_key(id), 0, id)
  redis.call('ZADD', status_key('waiting', id), 0, id)
  redis.call('ZADD', DUE, now_ms(), id)
  return id
end

-- Make the message of an event (`succeeded`, ...) of a job or study whose webhook asks for it, with
-- a copy of what the record says now.
local COPIED = {'status', 'outcome', 'verdict', 'name', 'labels', 'error', 'result', 'parent_id', 'num_runs',
  'created_at', 'started_at', 'finished_at'}
local function note_hook(id, event, ...)
  local hook = redis.call('HMGET', job_key(id), 'hook:events', 'hook:url', 'hook:format', 'hook:off',
    'owner')
  local type = (is_study(id) and 'study.' or 'job.') .. event
  if not hook[1] or hook[4] or not string.find(hook[1], ' ' .. type .. ' ', 1, true) then return end
  local words = {...}
  if hook[5] then words[#words + 1], words[#words + 2] = 'owner', hook[5] end
  for i, value in ipairs(redis.call('HMGET', job_key(id), unpack(COPIED))) do
    if value and #value <= LONGEST_COPY then
      words[#words + 1], words[#words + 2] = 'of:' .. COPIED[i], value
    end
  end
  add_message(type, id, hook[2], hook[3], unpack(words))
end

-- Whether what was asked for was reached: `hook:target` has a sign (-1 where more is better), and the
-- loss or the metric that ends a job, or the metric of a study's best configuration.
local function reached_target(id)
  local sign, target, metric = string.match(field(id, 'hook:target') or '', '^(%S+) (%S+) ?(%S*)$')
  if not sign or not is_study(id) and field(id, 'outcome') ~= 'converged' then return false end
  local is_read, result = pcall(cjson.decode, field(id, 'result') or 'null')
  if not is_read or type(result) ~= 'table' then return false end
  local value = result.final_loss
  if metric ~= '' then value = type(result.eval) == 'table' and result.eval[metric] end
  if is_study(id) then value = type(result.best) == 'table' and result.best.metric end
  return type(value) == 'number' and sign * value <= sign * target
end

-- Make the messages of the end of a job or study.
local function note_end_hooks(id, to)
  if not field(id, 'hook:events') then return end
  note_hook(id, to)
  if field(id, 'outcome') == 'diverged' then note_hook(id, 'diverged') end
  if reached_target(id) then note_hook(id, 'target_reached') end
end

-- Note the verdict of a job's diagnosis, which scripts cannot read: a long one is compressed.
local function set_verdict(id, verdict)
  local before = field(id, 'verdict')
  if before == verdict then return end
  set(id, 'verdict', verdict)
  note_hook(id, 'verdict_changed', 'of:previous_verdict', before or '')
end

-- Tell those who wait for its end.
local function publish(id) redis.call('PUBLISH', NS .. 'ended', id) end

-- The record has changed. A change of a task is one of its study.
local function touch(id)
  redis.call('HINCRBY', job_key(study_of(id) or id), 'version', 1)
end

-- The kind of worker ('gpu': it has one; 'cpu': it has none) that a queue is left to while one of
-- that kind takes work. `cuda` and `cuda:N` are not here: no other kind can serve them.
local WANTED = {auto = 'gpu', cpu = 'cpu'}

-- Whether a worker of this kind has said, within its time to live, that it takes work.
local known_to_take_work = {}
local function takes_work(kind)
  local known = known_to_take_work[kind]
  if known == nil then
    known = redis.call('ZCOUNT', NS .. 'workers:' .. kind, '(' .. now_ms(), '+inf') > 0
    known_to_take_work[kind] = known
  end
  return known
end

-- Put a job or task into its queue at a place; and take it out.
local function enter_key_queue(key, queue, place)
  redis.call('ZADD', key_queue(queue, key), 0, place)
  redis.call('SADD', waiting_keys(queue, string.sub(place, 1, 1)), key)
end
local function enqueue(id, queue, place)
  redis.call('ZADD', queue_key(queue), 0, place)
  local key = field(id, 'key_id')
  if key then enter_key_queue(key, queue, place) end
end
local function leave_key_queue(queue, key, place)
  local priority = string.sub(place, 1, 1)
  redis.call('ZREM', key_queue(queue, key), place)
  if redis.call('ZLEXCOUNT', key_queue(queue, key), from_priority(priority),
      to_priority(priority)) == 0 then
    redis.call('SREM', waiting_keys(queue, priority), key)
  end
end
local function dequeue(id, queue, place)
  redis.call('ZREM', queue_key(queue), place)
  local key = field(id, 'key_id')
  if key then leave_key_queue(queue, key, place) end
end

-- Keep a word for idle workers to wait for while the queue has jobs: for those of its own kind, or,
-- while there is none, for all. One is enough: who takes a job leaves another word while there are
-- more.
local function call_workers(queue)
  local own, everyone = NS .. 'wake:' .. queue, NS .. 'wake:all:' .. queue
  if redis.call('EXISTS', queue_key(queue)) == 0 then
    redis.call('DEL', own, everyone)
    return
  end
  local wanted = WANTED[queue]
  local words = (not wanted or takes_work(wanted)) and own or everyone
  if redis.call('EXISTS', words) == 0 then redis.call('RPUSH', words, '') end
end

-- The worker takes no work now, or only as one of the kind `but`. What was left to it as the last of
-- its kind is the others' from now on.
local function withdraw(worker, but)
  for queue, kind in pairs(WANTED) do
    if kind ~= but and redis.call('ZREM', NS .. 'workers:' .. kind, worker) == 1 then
      known_to_take_work[kind] = nil
      call_workers(queue)
    end
  end
end

-- The most memory that a worker has for what waits in a queue: of the kind that it is left to while
-- one of that kind takes work, else of all.
local most_memory = {}
local function largest_memory(queue)
  if not most_memory[queue] then
    local wanted, found = WANTED[queue], 0
    if wanted and not takes_work(wanted) then wanted = nil end
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', NS .. 'workers:until', '(' .. now_ms(), '+inf')) do
      local text = redis.call('HGET', NS .. 'workers:memory', name)
      local known = text and cjson.decode(text)
      if known and (not wanted or known.kind == wanted) then
        found = math.max(found, known.queues[queue] or 0)
      end
    end
    most_memory[queue] = found
  end
  return most_memory[queue]
end

-- Whether a job or task does not fit, by its estimate, into so much memory (0: not known), and
-- another worker has more. A plan takes none.
local function is_left_to_larger(id, queue, bytes)
  if bytes == 0 then return false end
  local need = tonumber(field(study_of(id) or id, 'need') or 0)
  if need <= bytes or is_task(id) and field(id, 'kind') == 'plan' then return false end
  return largest_memory(queue) > bytes
end

-- Take a worker that is gone off the list.
local function forget(worker)
  redis.call('HDEL', NS .. 'workers', worker)
  redis.call('HDEL', NS .. 'workers:memory', worker)
  redis.call('ZREM', NS .. 'workers:until', worker)
  withdraw(worker)
end

-- Put what has ended where the retention finds it, or apart while it is to be kept. `ended_ms`: when
-- it ended, where that is not known yet.
local function set_apart_or_not(id, ended_ms)
  local until_ms = tonumber(field(id, 'keep_ms'))
  ended_ms = ended_ms or redis.call('ZSCORE', FINISHED, id) or field(id, 'ended_ms')
  if until_ms and until_ms > now_ms() then
    set(id, 'ended_ms', string.format('%.0f', ended_ms))
    redis.call('ZADD', KEPT, until_ms, id)
    redis.call('ZREM', FINISHED, id)
  else
    redis.call('ZADD', FINISHED, ended_ms, id)
    redis.call('ZREM', KEPT, id)
  end
end

-- Jobs and studies of a key that wait: as many as its limit counts.
local function waiting_key(key) return NS .. 'waiting:' .. key end
local function count_waiting(id, is_waiting)
  local key = field(id, 'key_id')
  if key then redis.call(is_waiting and 'SADD' or 'SREM', waiting_key(key), id) end
end

-- Bytes that keys have stored, by key.
local STORED = NS .. 'stored'
local function add_stored(id, bytes)
  local key = bytes ~= 0 and field(id, 'key_id')
  if key then redis.call('HINCRBY', STORED, key, string.format('%.0f', bytes)) end
end

-- Milliseconds for which attempts held a device, of those that have ended: of each owner by slots of
-- five minutes, for as long as the last hour needs them; of each key by the day of UTC.
local SLOT_MS, HOUR_MS, DAY_MS = 300000, 3600000, 86400000
local function share_key(slot) return NS .. 'share:' .. string.format('%.0f', slot) end
local function spent_key(day) return NS .. 'spent:' .. string.format('%.0f', day) end
local function add_times(name_of, length_ms, whose, from, to)
  for slot = math.floor(from / length_ms), math.floor(to / length_ms) do
    local within = math.min(to, (slot + 1) * length_ms) - math.max(from, slot * length_ms)
    local name = name_of(slot)
    redis.call('HINCRBY', name, whose, string.format('%.0f', math.max(1, within)))
    redis.call('PEXPIRE', name, length_ms + DAY_MS)
  end
end
-- What is at work since there are keys: its owner, its key and since when (ms), so that a claim reads
-- all of it at once.
local AT_WORK = NS .. 'at-work'
local function note_at_work(id)
  if redis.call('EXISTS', KEYS_MADE) == 0 then return end
  local found = redis.call('HMGET', job_key(id), 'owner', 'key_id', 'began')
  local words = {found[1] or '', found[2] or '', found[3] or '0'}
  redis.call('HSET', AT_WORK, id, table.concat(words, ' '))
end
local function note_time(id, began)
  if redis.call('EXISTS', KEYS_MADE) == 0 then return end
  redis.call('HDEL', AT_WORK, id)
  local now, found = now_ms(), redis.call('HMGET', job_key(id), 'owner', 'key_id')
  began = math.min(began, now)
  add_times(share_key, SLOT_MS, found[1] or '', math.max(began, now - HOUR_MS), now)
  if found[2] then add_times(spent_key, DAY_MS, found[2], math.max(began, now - DAY_MS), now) end
end

-- The one place where a status changes. False, and nothing done, when the table has no such move.
local function move(id, to)
  local from = field(id, 'status')
  if not (from and MOVES[from][to]) then return false end
  set(id, 'status', to)
  if not is_task(id) then note_event('status', id) end
  redis.call('ZREM', status_key(from, id), id)
  if not (is_task(id) and TERMINAL[to]) then redis.call('ZADD', status_key(to, id), 0, id) end
  if not is_study(id) and (from == 'queued' or to == 'queued') then
    local where = redis.call('HMGET', job_key(id), 'queue', 'place')
    if to == 'queued' then
      enqueue(id, where[1], where[2])
    else
      dequeue(id, where[1], where[2])
    end
    call_workers(where[1])
  end
  if not is_task(id) and (from == 'queued' or to == 'queued') then
    count_waiting(id, to == 'queued')
  end
  if to == 'queued' and not is_task(id) then tell(id, 'queued', field(id, 'queue')) end
  if to == 'paused' and not is_task(id) then
    tell(id, 'paused', '')
    if is_study(id) then set(id, 'paused_ms', now_ms()) end
  end
  if TERMINAL[to] then
    set(id, 'finished_at', timestamp())
    if not is_task(id) then
      tell(id, 'ended', to)
      set_apart_or_not(id, now_ms())
      add_to_total('ended', is_study(id) and 'study' or 'job', to, field(id, 'outcome') or 'none')
      note_event('end', id)
      note_end_hooks(id, to)
      publish(id)
    end
  end
  if not HELD[to] then unset(id, 'phase') end
  return true
end

-- Whether the attempt with this token holds the job; and the job's status (false: no such job).
local function holds(id, token)
  local found = redis.call('HMGET', job_key(id), 'token', 'status')
  return found[1] == token and HELD[found[2]] == true, found[2]
end

-- How many rows a job or run has of a kind of which there must be more ('<kind> <number> ...'); nothing
-- where there are all. A server that came back with an older state has lost the last ones.
local function rows_short_of(id, expected)
  for kind, number in string.gmatch(expected, '(%S+) (%d+)') do
    local rows = tonumber(field(id, 'rows:' .. kind)) or 0
    if rows < tonumber(number) then return rows end
  end
end

-- The answer to a call that would end an attempt which does not hold the job: the job's status when
-- this very call has been made already (its first answer was lost) and no attempt has begun since.
local function ended_already(id, token, status, call)
  if field(id, 'token') == token and field(id, 'ended_by') == call then return {'ok', status} end
  return {'stale'}
end

-- Whether a pause was asked for, of a task's study, and not withdrawn since.
local function pause_asked(id) return field(study_of(id) or id, 'pause_requested_at') end

local function attempt_field(id, name) return 'a:' .. field(id, 'attempts') .. ':' .. name end

-- What `id` uses of something is `value` by now: the record of `whose` has the sum.
local function add_usage(whose, id, own, what, value)
  local more = tonumber(value) - (tonumber(field(id, own)) or 0)
  local sum = (tonumber(field(whose, 'usage:' .. what)) or 0) + more
  set(id, own, value)
  set(whose, 'usage:' .. what, string.format('%.17g', sum))
  if what == 'stored_bytes' then add_stored(whose, more) end
end

local function end_attempt(id, ending, call)
  local began = field(id, 'began')
  if began then note_time(id, tonumber(began)) end
  if began and field(id, 'kind') ~= 'plan' then
    local held_s = math.max(0, now_ms() - began) / 1000
    add_usage(study_of(id) or id, id, attempt_field(id, 'device_s'), 'device_s', held_s)
  end
  set(id, attempt_field(id, 'ended_at'), timestamp(), attempt_field(id, 'end'), ending,
    'ended_by', call)
  redis.call('ZREM', LEASES, id)
  add_to_total('attempt', ending,
    device_class(field(id, attempt_field(id, 'device')) or field(id, 'queue') or 'auto'))
  if ending == 'lost' or ending == 'handed_over' then
    tell(id, ending, field(id, attempt_field(id, 'worker')) or '')
  end
end

-- Studies. The study's hash counts its runs by status (`count:...`); a set holds its open tasks,
-- another all that there were, and a third the names of its bundles of histories. A list holds the
-- indices of the runs that have ended, in the order of their ends.
local function open_key(study) return job_key(study) .. '/open' end
local function tasks_key(study) return job_key(study) .. '/tasks' end
-- Records of runs that it inherits from another study: written just before the study.
local function inherited_key(study) return job_key(study) .. '/inherited' end
local function bundles_key(study) return job_key(study) .. '/bundles' end
local function ended_key(study) return job_key(study) .. '/ended' end
local function run_of(study, index) return study .. ':' .. index end
local function count(study, what, by) redis.call('HINCRBY', job_key(study), 'count:' .. what, by) end

-- Give a run that has not ended its status; false, and nothing done, when it has.
local function set_run(study, index, status, outcome)
  local run = run_of(study, index)
  local old = field(run, 'status')
  if not old or TERMINAL[old] then return false end
  set(run, 'status', status)
  count(study, old, -1)
  count(study, status, 1)
  if outcome == 'diverged' then count(study, 'diverged', 1) end
  if TERMINAL[status] then
    redis.call('RPUSH', ended_key(study), index)
    note_event('run', run)
  end
  return true
end

-- Add a task, which is queued unless its study is to pause. `fields`: of its record, besides those
-- that every task has.
local function add_task(study, round, number, ...)
  local id = study .. '/' .. round .. '.' .. number
  local found = redis.call('HMGET', job_key(study), 'queue', 'place', 'max_attempts', 'owner', 'key_id')
  local status = pause_asked(study) and 'paused' or 'queued'
  set(id, 'id', id, 'status', status, 'round', round, 'number', number, 'queue', found[1],
    'place', found[2] .. ':' .. id, 'max_attempts', found[3], ...)
  if found[4] then set(id, 'owner', found[4]) end
  if found[5] then set(id, 'key_id', found[5]) end
  redis.call('SADD', open_key(study), id)
  redis.call('SADD', tasks_key(study), id)
  redis.call('ZADD', status_key(status, id), 0, id)
  if status == 'paused' then return end
  enqueue(id, found[1], found[2] .. ':' .. id)
  call_workers(found[1])
end

-- A study that is over: runs that have not ended never will.
local function end_study(study, to, err)
  for index = 0, tonumber(field(study, 'planned') or 0) - 1 do
    set_run(study, index, to == 'cancelled' and 'cancelled' or 'failed')
  end
  if err then set(study, 'error', err) end
  move(study, to)
end

-- The tasks of a study that are not over; and how many of them a worker holds.
local function open_tasks(study)
  local tasks, num_held = redis.call('SMEMBERS', open_key(study)), 0
  table.sort(tasks)
  for _, task in ipairs(tasks) do
    if HELD[field(task, 'status')] then num_held = num_held + 1 end
  end
  return tasks, num_held
end

-- A study that is to pause is paused once no worker holds a task of it.
local function settle_pause(study)
  if field(study, 'status') ~= 'running' or not pause_asked(study) then return end
  local _, num_held = open_tasks(study)
  if num_held == 0 then move(study, 'paused') end
end

-- What a study becomes when a task of it has left its worker. A round is over with its last task;
-- the next plan, or the study's end, follows in the same breath.
local function settle_task(id, to, err)
  local study = study_of(id)
  local runs = field(id, 'runs')
  for index in string.gmatch(runs or '', '%d+') do
    if to == 'queued' or to == 'paused' then
      if field(run_of(study, index), 'status') == 'running' then set_run(study, index, 'queued') end
    elseif to ~= 'succeeded' then
      if set_run(study, index, to) and err then set(run_of(study, index), 'error', err) end
    end
  end
  if TERMINAL[to] then redis.call('SREM', open_key(study), id) end
  if redis.call('SCARD', open_key(study)) > 0 then return settle_pause(study) end
  if field(study, 'status') == 'cancelling' or to == 'cancelled' then
    end_study(study, 'cancelled')
  elseif field(id, 'kind') == 'train' then
    local round = redis.call('HINCRBY', job_key(study), 'round', 1)
    add_task(study, round, 0, 'kind', 'plan')
    settle_pause(study)
  elseif to ~= 'succeeded' then
    end_study(study, to, err)
  end
end

-- Where a job or task goes that somebody else is to go on with.
local function waits_as(id) return pause_asked(id) and 'paused' or 'queued' end

-- A held job or task goes where it must when nobody works at it any more; what its study becomes
-- of it. `err`: JSON, of one that failed.
local function leave(id, to, err)
  if err then set(id, 'error', err) end
  move(id, to)
  if is_task(id) then settle_task(id, to, err) end
end

-- Bytes of a row of a layout (JSON), and the steps between two; those of a study are mostly alike.
local layouts_read = {}
local function row_of(layout)
  local known = layouts_read[layout]
  if not known then
    local found, width = cjson.decode(layout), 0
    for _, numbers in pairs(found.widths) do width = width + numbers end
    known = {bytes = 8 * width, every = found.every}
    layouts_read[layout] = known
  end
  return known
end

-- Count the rows of a job, or those that the runs of a task have got in it, as stored: whoever counted
-- its files with them is gone.
local function note_rows(id)
  local bytes = 0
  local function add(name, came_at)
    for _, kind in ipairs({'train', 'eval'}) do
      local layout = field(name, 'layout:' .. kind)
      if layout then
        local row, rows = row_of(layout), tonumber(field(name, 'rows:' .. kind)) or 0
        bytes = bytes + row.bytes * math.max(0, rows - math.ceil(came_at / row.every))
      end
    end
  end
  if is_task(id) then
    for index in string.gmatch(field(id, 'runs') or '', '%d+') do
      local run = run_of(study_of(id), index)
      local paused = string.match(field(run, 'record') or '', '"paused":(%b{})')
      add(run, tonumber(string.match(paused or '', '"step":(%d+)') or 0))
    end
  else
    add(id, 0)
  end
  if bytes > (tonumber(field(id, 'stored_bytes')) or 0) then
    add_usage(study_of(id) or id, id, 'stored_bytes', 'stored_bytes', bytes)
  end
end

-- A held job or task whose worker is gone. `how`: a sentence without quotes, or nothing.
local function lose(id, call, how)
  local status = field(id, 'status')
  end_attempt(id, 'lost', call)
  unset(id, 'partial')  -- later rows have come since
  if status == 'cancelling' then
    note_rows(id)
    leave(id, 'cancelled')
  else
    local most = tonumber(field(id, 'max_attempts'))
    if redis.call('HINCRBY', job_key(id), 'lost', 1) < most then
      leave(id, waits_as(id))
    else
      note_rows(id)
      leave(id, 'failed', string.format('{"code":"worker_lost","message":"The worker died on %s.%s",'
        .. '"param":null}', most == 1 and 'the only attempt allowed'
        or 'each of ' .. most .. ' attempts', how and how ~= '' and ' ' .. how or ''))
    end
  end
  touch(id)
end

-- Whether this claim of an asked diagnosis still holds.
local function diagnoses(id, token)
  return field(id, 'ask:token') == token and redis.call('ZSCORE', DIAGNOSIS_LEASES, id) ~= false
end

-- Nobody works at the diagnosis any more, and nobody will.
local function settle_diagnosis(id, failure)
  redis.call('ZREM', DIAGNOSIS_LEASES, id)
  unset(id, 'ask:checkpoint', 'ask:lost', 'ask:worker')
  if failure == '' then unset(id, 'ask:failed') else set(id, 'ask:failed', failure) end
  touch(id)
end

-- An asked diagnosis whose worker is gone goes back to the queue; `most` attempts are enough.
local function lose_diagnosis(id, most)
  redis.call('ZREM', DIAGNOSIS_LEASES, id)
  if redis.call('HINCRBY', job_key(id), 'ask:lost', 1) < tonumber(most) then
    redis.call('ZADD', DIAGNOSES, now_ms(), id)
  else
    settle_diagnosis(id, 'The worker died on each of ' .. most .. ' attempts.')
  end
end

-- Enter what has just been written where lists of its owner find it; and take it out there.
local function enter_owner(id)
  local owner = field(id, 'owner')
  if owner then redis.call('ZADD', owner_key(id, owner), 0, id) end
end
local function leave_owner(id)
  local owner = field(id, 'owner')
  if owner then redis.call('ZREM', owner_key(id, owner), id) end
end

-- Whether this claim of a use still holds.
local function uses(id, token)
  return field(id, 'token') == token and redis.call('ZSCORE', USE_LEASES, id) ~= false
end

-- Put a use back among those that wait.
local function requeue_use(id)
  redis.call('ZREM', USE_LEASES, id)
  set(id, 'status', 'queued')
  redis.call('ZADD', USES, now_ms(), id)
  touch(id)
end

-- End a use: its age counts from now.
local function end_use(id, status)
  redis.call('ZREM', USE_LEASES, id)
  set(id, 'status', status, 'finished_at', timestamp())
  local age = tonumber(field(id, 'age_ms') or 0)
  if age > 0 then
    local expires = string.format('%.0f', now_ms() + age)
    set(id, 'expires_ms', expires)
    redis.call('ZADD', USE_EXPIRIES, expires, id)
  end
  touch(id)
  publish(id)
end

-- A use whose worker is gone goes back to the queue; `most` attempts are enough.
local function lose_use(id, most)
  if not field(id, 'status') then
    redis.call('ZREM', USE_LEASES, id)
  elseif redis.call('HINCRBY', job_key(id), 'lost', 1) < tonumber(most) then
    requeue_use(id)
  else
    set(id, 'error', cjson.encode({code = 'worker_lost', param = cjson.null,
      message = 'The worker died on each of ' .. most .. ' attempts.'}))
    end_use(id, 'failed')
  end
end

-- Take a use of weights away; its artifacts go to the trash.
local function drop_use(id)
  local of = field(id, 'of')
  redis.call('ZREM', USES, id)
  redis.call('ZREM', USE_LEASES, id)
  redis.call('ZREM', USE_EXPIRIES, id)
  if of then redis.call('SREM', uses_key(of), id) end
  add_stored(id, -(tonumber(field(id, 'size_bytes')) or 0))
  redis.call('DEL', job_key(id))
  redis.call('SADD', TRASH, id)
  publish(id)
end

-- Take a terminal job or study out of every index and put it into the trash, where it lies until its
-- artifacts and rows are freed.
local function discard(id)
  redis.call('ZREM', index_key(id), id)
  redis.call('ZREM', FINISHED, id)
  redis.call('ZREM', KEPT, id)
  redis.call('ZREM', DIAGNOSES, id)
  redis.call('ZREM', DIAGNOSIS_LEASES, id)
  redis.call('ZREM', status_key(field(id, 'status'), id), id)
  leave_owner(id)
  for _, use in ipairs(redis.call('SMEMBERS', uses_key(id))) do drop_use(use) end
  add_stored(id, -(tonumber(field(id, 'usage:stored_bytes')) or 0))
  for name, value in pairs(cjson.decode(field(id, 'labels') or '{}')) do
    redis.call('ZREM', label_key(id, name .. '=' .. value), id)
  end
  redis.call('RENAME', job_key(id), NS .. 'trash:' .. id)
  redis.call('SADD', TRASH, id)
  publish(id)
end

-- ARGV from `first` on: field, value, ... An empty value removes the field; `device` is the
-- running attempt's, and lines of the `timeline` are added to those that there are. What was used
-- (`usage:...`) is in the record of the job, or of a task in its study's: the largest peak, the sum
-- of all attempts' processor time, and of what each job or task stores.
local function set_fields(id, first)
  for i = first, #ARGV, 2 do
    local name, value = ARGV[i], ARGV[i + 1]
    if name == 'device' then name = attempt_field(id, 'device') end
    if name == 'timeline' then
      tell_lines(id, value)
    elseif string.sub(name, 1, 6) == 'usage:' then
      local whose = study_of(id) or id
      if name == 'usage:peak_memory_bytes' then
        if tonumber(value) > (tonumber(field(whose, name)) or -1) then set(whose, name, value) end
      else
        local what = string.sub(name, 7)
        add_usage(whose, id, what == 'cpu_s' and attempt_field(id, what) or what, what, value)
      end
    elseif value == '' then
      unset(id, name)
    else
      if name == 'diagnosis' and field(id, name) ~= value then note_event('diagnosis', id) end
      if name == 'verdict' then set_verdict(id, value) else set(id, name, value) end
    end
  end
end

-- How many workers have reported within their time to live.
local function num_workers()
  return redis.call('ZCOUNT', NS .. 'workers:until', '(' .. now_ms(), '+inf')
end

-- What is at work now: of each owner for how many milliseconds of the last hour, of each key how many
-- jobs and tasks, and for how many of this day. Looked at once.
local at_work
local function look_at_work()
  if at_work then return at_work end
  at_work = {keys = {}, hour_ms = {}, day_ms = {}}
  local now = now_ms()
  local day_began = now - now % DAY_MS
  local function add(of, name, value) at_work[of][name] = (at_work[of][name] or 0) + value end
  for _, words in ipairs(redis.call('HVALS', AT_WORK)) do
    local owner, key, began = string.match(words, '^(%S*) (%S*) (%d+)$')
    began = tonumber(began)
    add('hour_ms', owner, math.max(1, math.min(HOUR_MS, now - began)))
    if key ~= '' then
      add('keys', key, 1)
      add('day_ms', key, math.max(0, now - math.max(began, day_began)))
    end
  end
  return at_work
end

-- Milliseconds of the last hour for which work of an owner has held a device.
local function share_of(owner)
  local now, sum = now_ms(), look_at_work().hour_ms[owner] or 0
  local newest = math.floor(now / SLOT_MS)
  local oldest = newest - HOUR_MS / SLOT_MS
  for slot = oldest, newest do
    local ms = tonumber(redis.call('HGET', share_key(slot), owner) or 0)
    sum = sum + (slot == oldest and ms * (1 - now % SLOT_MS / SLOT_MS) or ms)
  end
  return sum
end

-- The limits of a key by name, as text; what it has none of is false. Read once.
local limits_read = {}
local function limits_of(key)
  local found = limits_read[key]
  if not found then
    local read = redis.call('HMGET', key_key(key), 'queued', 'running', 'stored_bytes',
      'device_s_per_day')
    found = {queued = read[1], running = read[2], stored_bytes = read[3], device_s_per_day = read[4]}
    limits_read[key] = found
  end
  return found
end

-- Milliseconds of this day for which work of a key has held a device.
local function spent_by(key)
  local ended = redis.call('HGET', spent_key(math.floor(now_ms() / DAY_MS)), key)
  return tonumber(ended or 0) + (look_at_work().day_ms[key] or 0)
end

-- Whether no more work of a key may begin now: as much as its limit allows is at work, or its day is
-- used up.
local function may_not_begin(key)
  local limits = limits_of(key)
  local running, device_s = limits.running, limits.device_s_per_day
  return running and (look_at_work().keys[key] or 0) >= tonumber(running)
    or device_s and spent_by(key) >= 1000 * device_s or false
end

-- The limit by which no more work of a key may wait now (as `limit_reached` tells it); or nothing.
local function queue_full(key)
  local most = limits_of(key).queued
  local waiting = most and redis.call('SCARD', waiting_key(key))
  if most and waiting >= tonumber(most) then
    return {'limit', 'queued', most, string.format('%.0f', waiting), '5'}
  end
end

-- The limit by which a key may make nothing more now: its name, the limit, what there is, and the
-- seconds after which another try makes sense; or nothing. `bytes`: to be stored by what is made.
local function limit_reached(key, bytes)
  local limits = limits_of(key)
  local stored, device_s = limits.stored_bytes, limits.device_s_per_day
  local function number(value) return string.format('%.17g', value) end
  local full = not bytes and queue_full(key)
  if full then return full end
  if stored then
    local kept = tonumber(redis.call('HGET', STORED, key) or 0)
    if kept + (bytes or 1) > tonumber(stored) then
      return {'limit', 'stored_bytes', stored, number(kept), '60'}
    end
  end
  if device_s and not bytes then
    local spent = spent_by(key)
    if spent >= 1000 * device_s then
      local left_s = math.ceil((DAY_MS - now_ms() % DAY_MS) / 1000)
      return {'limit', 'device_s_per_day', device_s, number(spent / 1000), tostring(left_s)}
    end
  end
end

-- How many of one key's queued work, and of other keys' that is likely to be taken before it, are
-- ahead of a place: other owners have their turn as often as its own. Nothing where many keys wait.
local MOST_KEYS_COUNTED = 50
local function fair_position(key, place, queues)
  local priority, others, num = string.sub(place, 1, 1), {}, 0
  for _, queue in ipairs(queues) do
    for _, other in ipairs(redis.call('SMEMBERS', waiting_keys(queue, priority))) do
      if other ~= key then
        if not others[other] then others[other], num = 0, num + 1 end
        if num > MOST_KEYS_COUNTED then return end
      end
    end
  end
  if num == 0 then return end
  local own, ahead = 0, 0
  for _, queue in ipairs(queues) do
    ahead = ahead + redis.call('ZLEXCOUNT', queue_key(queue), '-', '(' .. priority .. ':')
    own = own + redis.call('ZLEXCOUNT', key_queue(queue, key), from_priority(priority), '(' .. place)
    for other, waiting in pairs(others) do
      others[other] = waiting + redis.call('ZLEXCOUNT', key_queue(queue, other),
        from_priority(priority), to_priority(priority))
    end
  end
  for _, waiting in pairs(others) do ahead = ahead + math.min(waiting, own) end
  return ahead + own
end

-- The queues whose work may be taken before that of this one, by every worker that serves it now.
local function queues_served_with(queue)
  local gpu, cpu = takes_work('gpu'), takes_work('cpu')
  local served
  if WANTED[queue] == 'cpu' and (cpu or not gpu) or WANTED[queue] == 'gpu' and not gpu then
    served = {cpu = true, auto = not gpu}
  else
    served = {auto = true, cuda = true, cpu = not cpu}
  end
  served[queue] = true
  local found = {}
  for each, is_served in pairs(served) do
    if is_served then found[#found + 1] = each end
  end
  return found
end

-- Status, queue and place of what waits in a queue: of a study its first task's.
local function where_waits(id)
  if is_study(id) then id = id .. '/' .. (field(id, 'first_task') or '0.0') end
  return redis.call('HMGET', job_key(id), 'status', 'queue', 'place')
end

-- How many queued jobs are ahead of this one in its own queue and in those that every worker
-- serving it now serves too; -1 when it is not queued.
local function position(id)
  local found = where_waits(id)
  if found[1] ~= 'queued' then return -1 end
  local ahead = 0
  for _, queue in ipairs(queues_served_with(found[2])) do
    ahead = ahead + redis.call('ZLEXCOUNT', queue_key(queue), '-', '(' .. found[3])
  end
  return ahead
end

-- The position as callers are told it: of a key's work with the turns of other keys, and -2 less than
-- its negative where it must not begin yet, by a limit of its key.
local function told_position(id)
  local key = field(id, 'key_id')
  if not key then return position(id) end
  local found = where_waits(id)
  if found[1] ~= 'queued' then return -1 end
  local ahead = fair_position(key, found[3], queues_served_with(found[2])) or position(id)
  return may_not_begin(key) and -2 - ahead or ahead
end

-- Data sets. Those being checked have a lease, which the API that checks them renews; those that
-- expire stand in an index by that time. A set holds the jobs and studies that were made with one.
-- What is stored of a file's content (`file_...`) has the digest of the content, and a set of the
-- data sets that have it: the last one takes it along. What is being stored stands in PENDING until
-- a data set has it, with the time from which on none will.
local CHECKS, EXPIRIES, CONTENTS = NS .. 'data-checks', NS .. 'data-expiries', NS .. 'data-contents'
local PENDING = NS .. 'files-pending'
local function users_key(id) return job_key(id) .. '/users' end
local function owners_key(file) return NS .. 'file:' .. file .. '/datasets' end

-- A job or study that has not ended and uses the data set; those that have are forgotten.
local function user_of(id)
  for _, user in ipairs(redis.call('SMEMBERS', users_key(id))) do
    local status = field(user, 'status')
    if status and not TERMINAL[status] then return user end
    redis.call('SREM', users_key(id), user)
  end
  return false
end

-- The time (ms) until which the data set is kept whatever its age; 0: none is set.
local function kept_until(id) return tonumber(field(id, 'keep_ms') or 0) end

-- Enter the time at which the data set expires; without an age it never does.
local function enter_expiry(id)
  local expires = tonumber(field(id, 'expires_ms') or 0)
  if expires > 0 then
    redis.call('ZADD', EXPIRIES, math.max(expires, kept_until(id)), id)
  end
end

-- Let its age count from now, as far as that is later.
local function put_off(id)
  local age = tonumber(field(id, 'age_ms') or 0)
  if age == 0 then return end
  local expires = string.format('%.0f', now_ms() + age)
  if tonumber(expires) <= tonumber(field(id, 'expires_ms') or 0) then return end
  set(id, 'expires_ms', expires)
  enter_expiry(id)
  touch(id)
end

-- Give the data set the stored content with this digest: `file`, or the one that is there already.
local function attach(id, file, digest)
  local known = redis.call('HGET', CONTENTS, digest)
  if known then
    file = known
  else
    redis.call('HSET', CONTENTS, digest, file)
    redis.call('ZREM', PENDING, file)
  end
  redis.call('SADD', owners_key(file), id)
  set(id, 'file', file, 'digest', digest)
  return file
end

-- Put a data set in another status, and tell those who wait.
local function settle_data(id, status)
  redis.call('ZREM', CHECKS, id)
  redis.call('ZREM', status_key(field(id, 'status'), id), id)
  redis.call('ZADD', status_key(status, id), 0, id)
  set(id, 'status', status)
  touch(id)
  publish(id)
end

-- Take a data set out of every index, and its content to the trash with the last that has it.
-- -> the content that nobody has any more, or ''
local function drop_data(id)
  local found = redis.call('HMGET', job_key(id), 'status', 'file', 'digest', 'labels')
  for _, key in ipairs({index_key(id), status_key(found[1], id), CHECKS, EXPIRIES}) do
    redis.call('ZREM', key, id)
  end
  for name, value in pairs(cjson.decode(found[4] or '{}')) do
    redis.call('ZREM', label_key(id, name .. '=' .. value), id)
  end
  leave_owner(id)
  add_stored(id, -(tonumber(field(id, 'size_bytes')) or 0))
  redis.call('DEL', job_key(id), users_key(id))
  publish(id)
  local file = found[2]
  if not file then return '' end
  redis.call('SREM', owners_key(file), id)
  if redis.call('SCARD', owners_key(file)) > 0 then return '' end
  redis.call('HDEL', CONTENTS, found[3])
  redis.call('SADD', TRASH, file)
  return file
end

-- Take a message of a webhook off the log.
local function drop_message(id)
  local found = redis.call('HMGET', job_key(id), 'status', 'subject', 'owner')
  redis.call('ZREM', index_key(id), id)
  redis.call('ZREM', DUE, id)
  redis.call('ZREM', SENT, id)
  if found[1] then redis.call('ZREM', status_key(found[1], id), id) end
  if found[2] then redis.call('ZREM', label_key(id, 'of=' .. found[2]), id) end
  if found[3] then redis.call('ZREM', label_key(id, 'owner=' .. found[3]), id) end
  redis.call('DEL', job_key(id))
end

-- Give a message another status; `due_ms`: when it is tried, of one that waits.
local function move_message(id, to, due_ms)
  redis.call('ZREM', status_key(field(id, 'status'), id), id)
  redis.call('ZADD', status_key(to, id), 0, id)
  set(id, 'status', to)
  touch(id)
  if to == 'waiting' then
    set(id, 'due_ms', string.format('%.0f', due_ms))
    redis.call('ZADD', DUE, due_ms, id)
    redis.call('ZREM', SENT, id)
  else
    unset(id, 'due_ms')
    redis.call('ZREM', DUE, id)
    redis.call('ZADD', SENT, now_ms(), id)
    add_to_total('webhook', to)
    publish(id)
  end
end

-- Write a job or study and queue it: the whole of `create` and `create_of_key`. `limit_of`: what
-- refuses more work of the key in ARGV, where it has come to a limit; `position_of`: what tells the
-- place in the queue.
local function create_work(limit_of, position_of)
  local id, fingerprint = ARGV[1], ARGV[4]
  local memory = NS .. 'idempotency:' .. kind_of(id) .. ARGV[3]
  if ARGV[3] ~= '' then
    local known = redis.call('HMGET', memory, 'fingerprint', 'job')
    if known[1] then
      if known[1] ~= fingerprint then return {'reused'} end
      local record = redis.call('HGETALL', job_key(known[2]))
      if #record == 0 then return {'deleted', known[2]} end
      return {'replayed', position_of(known[2]), num_workers(), record}
    end
  end
  if redis.call('ZCARD', status_key('queued', id)) >= tonumber(ARGV[2]) then return {'full'} end
  local key = ARGV[7]
  local limit = key ~= '' and limit_of(key)
  if limit then return limit end

  for used in string.gmatch(ARGV[6], '%S+') do
    if field(used, 'status') ~= 'ready' then return {'no_data', used} end
  end
  for used in string.gmatch(ARGV[6], '%S+') do
    redis.call('SADD', users_key(used), id)
    put_off(used)
  end

  local num_labels = tonumber(ARGV[8])
  for i = 9, 8 + num_labels do redis.call('ZADD', label_key(id, ARGV[i]), 0, id) end
  set(id, 'status', 'queued', 'version', 1, unpack(ARGV, 9 + num_labels))
  if is_study(id) then
    if ARGV[#ARGV - 1] == 'num_inherited' then redis.call('PERSIST', inherited_key(id)) end
    add_task(id, 0, 0, 'kind', 'plan')
  else
    local where = redis.call('HMGET', job_key(id), 'queue', 'place')
    redis.call('ZADD', queue_key(where[1]), 0, where[2])
    if key ~= '' then enter_key_queue(key, where[1], where[2]) end
    call_workers(where[1])
  end
  redis.call('ZADD', status_key('queued', id), 0, id)
  redis.call('ZADD', index_key(id), 0, id)
  if key ~= '' then
    enter_owner(id)
    count_waiting(id, true)
  end
  add_to_total('created', is_study(id) and 'study' or 'job', device_class(field(id, 'queue')))
  note_event('status', id)
  if ARGV[3] ~= '' then
    redis.call('HSET', memory, 'fingerprint', fingerprint, 'job', id)
    redis.call('EXPIRE', memory, ARGV[5])
  end
  return {'created', position_of(id), num_workers()}
end
