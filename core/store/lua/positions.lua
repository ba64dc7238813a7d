-- ARGV: id ... -> position of each; -1 when it is not queued
local out = {}
for i, id in ipairs(ARGV) do out[i] = position(id) end
return out
