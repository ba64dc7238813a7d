-- ARGV: number of series, then for each: bytes a row, then either rows a chunk and the name of its
-- chunks up to the number, or 0, the number of its segments, and for each of them the bundle's name,
-- its rows and the byte at which they begin; then ascending row numbers
-- -> for each series its rows' bytes, one after another
local prefix, num_series, out = NS .. 'rows:', tonumber(ARGV[1]), {}
local at = 1
local function word() at = at + 1 return ARGV[at] end
local function number() return tonumber(word()) end

-- Where the rows of a series lie: a function from a row to key, first row there, row after the last
-- one there, and the byte at which they begin.
local function in_chunks(chunk_rows, name)
  return function(row)
    local chunk = math.floor(row / chunk_rows)
    return name .. chunk, chunk * chunk_rows, (chunk + 1) * chunk_rows, 0
  end
end
local function in_segments(num_segments)
  local segments, stop = {}, 0
  for i = 1, num_segments do
    local segment = {key = prefix .. word(), first = stop, rows = number(), start = number()}
    stop = stop + segment.rows
    segments[i] = segment
  end
  return function(row)
    for _, segment in ipairs(segments) do
      local beyond = segment.first + segment.rows
      if row < beyond then return segment.key, segment.first, beyond, segment.start end
    end
    return '', row, row + 1, 0
  end
end

local series = {}
for s = 1, num_series do
  local width, chunk_rows = number(), number()
  local place = chunk_rows == 0 and in_segments(number()) or in_chunks(chunk_rows, prefix .. word())
  series[s] = {width = width, place = place}
end
local rows = {}
for i = at + 1, #ARGV do rows[i - at] = tonumber(ARGV[i]) end

local call = redis.call
for s, each in ipairs(series) do
  local width, place, parts = each.width, each.place, {}
  local key, base, beyond, begin = '', 0, 0, 0
  for i, row in ipairs(rows) do
    if row < base or row >= beyond then key, base, beyond, begin = place(row) end
    local start = begin + (row - base) * width
    parts[i] = call('GETRANGE', key, start, start + width - 1)
  end
  out[s] = table.concat(parts)
end
return out
