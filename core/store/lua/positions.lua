-- ARGV: id ... -> position of each (see `told_position`); -1 when it is not queued
local out = {}
for i, id in ipairs(ARGV) do out[i] = told_position(id) end
return out
