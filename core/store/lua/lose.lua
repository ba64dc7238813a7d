-- ARGV: id, token, how its trainer ended or '' -> 'ok', status | 'stale'
local id, token = ARGV[1], ARGV[2]
local held, status = holds(id, token)
if not held then return ended_already(id, token, status, 'lose') end
lose(id, 'lose', ARGV[3])
return {'ok', field(id, 'status')}
