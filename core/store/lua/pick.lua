-- ARGV: number of series, then for each: name of its chunks up to the number (or of all its rows),
-- bytes a row, rows a chunk (0: it has none, all rows lie under the name), the byte at which it
-- begins; then row numbers -> for each series its rows' bytes, one after another
local prefix, num_series, out = NS .. 'rows:', tonumber(ARGV[1]), {}
local first = 1 + 4 * num_series
local rows = {}
for i = first + 1, #ARGV do rows[i - first] = tonumber(ARGV[i]) end

local call = redis.call
for s = 0, num_series - 1 do
  local name, width = prefix .. ARGV[4 * s + 2], tonumber(ARGV[4 * s + 3])
  local chunk_rows, offset, parts = tonumber(ARGV[4 * s + 4]), tonumber(ARGV[4 * s + 5]), {}
  local key, base, beyond = '', 0, 0  -- of the chunk with rows base ... beyond - 1
  if chunk_rows == 0 then key, beyond = name, math.huge end
  for i, row in ipairs(rows) do
    if row < base or row >= beyond then
      local chunk = math.floor(row / chunk_rows)
      key, base, beyond = name .. chunk, chunk * chunk_rows, (chunk + 1) * chunk_rows
    end
    local start = offset + (row - base) * width
    parts[i] = call('GETRANGE', key, start, start + width - 1)
  end
  out[s + 1] = table.concat(parts)
end
return out
