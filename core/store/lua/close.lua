-- ARGV: id, token, rows that there must be ('<kind> <number> ...', or ''), status, attempt's end,
-- field, value ... -> 'ok', status | 'illegal', status | 'stale' | 'gap', rows
local id, token, to = ARGV[1], ARGV[2], ARGV[4]
local held, status = holds(id, token)
if not held then return ended_already(id, token, status, 'close') end
if not (TERMINAL[to] and MOVES[status][to]) then return {'illegal', status} end
local too_few = rows_short_of(id, ARGV[3])
if too_few then return {'gap', too_few} end
set_fields(id, 6)
end_attempt(id, ARGV[5], 'close')
leave(id, to)
touch(id)
return {'ok', to}
