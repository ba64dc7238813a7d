-- ARGV: worker, lease in ms, its kind ('gpu' or 'cpu'), queue, memory of the device that it is for
-- (0: not known) ...
-- -> 'job', record | 'task', record, its study's record | 'none' | 'newer', the store's format
-- A place sorts by priority, then by age; what may be claimed stands in one queue only. Priority is
-- first; within one, the owner whose work has held devices for the least time of the last hour.
local newer = newer_format()
if newer then return {'newer', newer} end

-- In format 2 what asks for `auto` and for `cpu` stood in one queue, `any`. At most 100 places, or
-- 1 MB of specs, find their queue in one call.
local num_bytes = 0
for _, place in ipairs(redis.call('ZRANGE', queue_key('any'), 0, 99)) do
  local id = string.match(place, '[^:]+$')
  local owner = study_of(id) or id
  local queue = field(owner, 'queue')
  if queue == 'any' then
    local spec = field(owner, 'spec') or ''
    if num_bytes > 0 and num_bytes + #spec > 1000000 then break end
    num_bytes = num_bytes + #spec
    local is_read, found = pcall(cjson.decode, spec)
    queue = is_read and (found.base or found).device == 'cpu' and 'cpu' or 'auto'
    set(owner, 'queue', queue)
  end
  redis.call('ZREM', queue_key('any'), place)
  if field(id, 'status') == 'queued' then
    set(id, 'queue', queue)
    enqueue(id, queue, place)
    call_workers(queue)
  end
end

local queues, room = {}, {}
for i = 4, #ARGV, 2 do
  local wanted = WANTED[ARGV[i]]
  if not wanted or wanted == ARGV[3] or not takes_work(wanted) then
    queues[#queues + 1] = ARGV[i]
    room[ARGV[i]] = tonumber(ARGV[i + 1])
  end
end

-- The first place in a set between two ends that is not left to larger workers; those before it are
-- passed over, at most 1000 in all.
local num_left, passed = 0, {}
local function first_in(set_name, queue, low, high)
  local from = set_name .. low
  while true do
    local offset = passed[from] or 0
    local place = redis.call('ZRANGEBYLEX', set_name, low, high, 'LIMIT', offset, 1)[1]
    if not place or num_left >= 1000 then return end
    if not is_left_to_larger(string.match(place, '[^:]+$'), queue, room[queue]) then return place end
    num_left, passed[from] = num_left + 1, offset + 1
  end
end

-- The oldest work of all in the queues, or of one priority.
local function first_of_all(priority)
  local best, queue
  local low, high = '-', '+'
  if priority then low, high = from_priority(priority), to_priority(priority) end
  for _, each in ipairs(queues) do
    local place = first_in(queue_key(each), each, low, high)
    if place and (not best or place < best) then best, queue = place, each end
  end
  return best, queue
end

-- The oldest work of each key that waits with this priority, and may begin: place, queue, key.
local function first_of_keys(priority)
  local found, is_any = {}, false
  for _, queue in ipairs(queues) do
    for _, key in ipairs(redis.call('SMEMBERS', waiting_keys(queue, priority))) do
      is_any = true
      local place = first_in(key_queue(queue, key), queue, from_priority(priority),
        to_priority(priority))
      local known = found[key]
      if place and (known or known == nil and not may_not_begin(key)) then
        if not known or place < known[1] then found[key] = {place, queue, key} end
      elseif known == nil then
        found[key] = false
      end
    end
  end
  return found, is_any
end

local function owner_of(place, key)
  if key then return redis.call('HGET', key_key(key), 'owner') or '' end
  return field(string.match(place, '[^:]+$'), 'owner') or ''
end

-- What is next: place, queue, key. Work without a key (it is older than the first key) has its turn
-- when it is the oldest.
local function next_work()
  local best, queue = first_of_all()
  while best do
    local priority = string.sub(best, 1, 1)
    local keys, is_any = first_of_keys(priority)
    if not is_any then return best, queue end
    local candidates = {}
    if not field(string.match(best, '[^:]+$'), 'key_id') then candidates[1] = {best, queue} end
    for _, each in pairs(keys) do
      if each then candidates[#candidates + 1] = each end
    end
    if #candidates > 1 then
      for _, each in ipairs(candidates) do each.owner = owner_of(each[1], each[3]) end
      local shares = {}
      for _, each in ipairs(candidates) do
        shares[each.owner] = shares[each.owner] or share_of(each.owner)
      end
      table.sort(candidates, function(a, b)
        local x, y = shares[a.owner], shares[b.owner]
        if x ~= y then return x < y end
        return a[1] < b[1]
      end)
    end
    if candidates[1] then return unpack(candidates[1], 1, 3) end
    if priority == '9' then return end
    best, queue = nil, nil
    for below = tonumber(priority) + 1, 9 do
      best, queue = first_of_all(below)
      if best then break end
    end
  end
end

while true do
  local best, queue, key = next_work()
  if not best then return {'none'} end

  local id = string.match(best, '[^:]+$')
  if move(id, 'running') then
    local number = redis.call('HINCRBY', job_key(id), 'attempts', 1)
    local stamp = timestamp()
    redis.call('HINCRBY', job_key(id), 'token', 1)
    local is_start = redis.call('HSETNX', job_key(id), 'started_at', stamp) == 1
    set(id, 'a:' .. number .. ':worker', ARGV[1], 'a:' .. number .. ':started_at', stamp,
      'began', now_ms())
    redis.call('ZADD', LEASES, now_ms() + tonumber(ARGV[2]), id)
    note_at_work(id)
    local study = study_of(id)
    if not study then
      tell(id, 'claimed', ARGV[1])
      if is_start then note_hook(id, 'started') end
    else
      if field(study, 'status') == 'queued' then
        move(study, 'running')
        local is_first = redis.call('HSETNX', job_key(study), 'started_at', stamp) == 1
        local since = not is_first and field(study, 'paused_ms')
        if since then redis.call('HINCRBY', job_key(study), 'idle_ms', math.max(0, now_ms() - since)) end
        unset(study, 'paused_ms')
        tell(study, 'claimed', ARGV[1])
        if is_first then note_hook(study, 'started') end
      end
      for index in string.gmatch(field(id, 'runs') or '', '%d+') do
        set_run(study, index, 'running')
      end
    end
    touch(id)
    local record = redis.call('HGETALL', job_key(id))
    if study then return {'task', record, redis.call('HGETALL', job_key(study))} end
    return {'job', record}
  else  -- no queued job stands behind this entry
    redis.call('ZREM', queue_key(queue), best)
    if key then leave_key_queue(queue, key, best) end
  end
end
