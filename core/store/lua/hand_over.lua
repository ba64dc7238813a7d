-- ARGV: id, token -> 'ok', status | 'stale'
local id, token = ARGV[1], ARGV[2]
local held, status = holds(id, token)
if not held then return ended_already(id, token, status, 'hand_over') end
local to = status == 'cancelling' and 'cancelled' or 'queued'
end_attempt(id, to == 'cancelled' and 'cancelled' or 'handed_over', 'hand_over')
leave(id, to)
touch(id)
return {'ok', to}
