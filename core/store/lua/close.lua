-- ARGV: id, token, status, attempt's end, field, value ... -> 'ok', status | 'illegal', status | 'stale'
local id, token, to = ARGV[1], ARGV[2], ARGV[3]
local held, status = holds(id, token)
if not held then return ended_already(id, token, status, 'close') end
if not (TERMINAL[to] and MOVES[status][to]) then return {'illegal', status} end
set_fields(id, 5)
end_attempt(id, ARGV[4], 'close')
leave(id, to)
touch(id)
return {'ok', to}
