-- ARGV: id, number of series, then for each: name of its chunks up to the number, bytes a row,
-- rows a chunk; then row numbers -> for each series its rows' bytes, one after another
local prefix, num_series, out = NS .. 'rows:' .. ARGV[1] .. ':', tonumber(ARGV[2]), {}
local first = 2 + 3 * num_series
local rows = {}
for i = first + 1, #ARGV do rows[i - first] = tonumber(ARGV[i]) end

local call = redis.call
for s = 1, num_series do
  local name, width = prefix .. ARGV[3 * s], tonumber(ARGV[3 * s + 1])
  local chunk_rows, parts = tonumber(ARGV[3 * s + 2]), {}
  local key, base, beyond = '', 0, 0  -- of the chunk with rows base ... beyond - 1
  for i, row in ipairs(rows) do
    if row < base or row >= beyond then
      local chunk = math.floor(row / chunk_rows)
      key, base, beyond = name .. chunk, chunk * chunk_rows, (chunk + 1) * chunk_rows
    end
    local start = (row - base) * width
    parts[i] = call('GETRANGE', key, start, start + width - 1)
  end
  out[s] = table.concat(parts)
end
return out
