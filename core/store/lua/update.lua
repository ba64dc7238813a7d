-- ARGV: id, token, field, value ... -> 'ok', status | 'stale'
local held, status = holds(ARGV[1], ARGV[2])
if not held then return {'stale'} end
set_fields(ARGV[1], 3)
touch(ARGV[1])
return {'ok', status}
