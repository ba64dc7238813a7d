-- ARGV: most, ms of a lease, ms for which those that have ended stay, how many of them stay at most,
-- most that are sent to one origin at a time, most of one owner, how many that are due to pass over,
-- share ('to <origin>', 'of <owner>'), number of those under way ...
-- -> how many to pass over at the next look, number of secrets, secret ..., records of messages that are
-- to be sent now. What one origin or owner has more of than its share is left for a later look, so that
-- it holds up no other; where that fills a look, the next one goes on behind it.
local MOST_LOOKED_AT = 500
if newer_format() then return {0, 0} end
local old = redis.call('ZRANGEBYSCORE', SENT, '-inf', now_ms() - ARGV[3], 'LIMIT', 0, 100)
local excess = math.min(100, redis.call('ZCARD', SENT) - ARGV[4])
if excess > #old then old = redis.call('ZRANGE', SENT, 0, excess - 1) end
for _, id in ipairs(old) do drop_message(id) end

local most, first, under_way = tonumber(ARGV[1]), tonumber(ARGV[7]), {}
for i = 8, #ARGV, 2 do under_way[ARGV[i]] = tonumber(ARGV[i + 1]) end
local function takes(share, limit)
  return not share or (under_way[share] or 0) < tonumber(limit)
end
local function take(share)
  if share then under_way[share] = (under_way[share] or 0) + 1 end
end

-- A lease or a pause that a clock set back has made too long is left to the day's end: it is late, not
-- lost.
local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', now_ms(), 'LIMIT', first, MOST_LOOKED_AT)
local taken = {}
for _, id in ipairs(due) do
  if #taken == most then break end
  local found = redis.call('HMGET', job_key(id), 'status', 'url', 'owner')
  if found[1] == 'waiting' then
    local to = 'to ' .. string.lower(string.match(found[2], '^%a+://[^/?#]*') or '')
    local of = found[3] and 'of ' .. found[3]
    if takes(to, ARGV[5]) and takes(of, ARGV[6]) then
      take(to)
      take(of)
      taken[#taken + 1] = id
    end
  else
    redis.call('ZREM', DUE, id)
  end
end
local next_first = #taken < most and #due == MOST_LOOKED_AT and first + MOST_LOOKED_AT or 0
if #taken == 0 then return {next_first, 0} end
local out = redis.call('HVALS', NS .. 'webhook:secrets')
table.insert(out, 1, #out)
table.insert(out, 1, next_first)
for _, id in ipairs(taken) do
  redis.call('HINCRBY', job_key(id), 'token', 1)
  redis.call('ZADD', DUE, now_ms() + ARGV[2], id)
  out[#out + 1] = redis.call('HGETALL', job_key(id))
end
return out
