-- ARGV: id, token, result that the job has if nobody goes on with it, or ''
-- -> 'ok', status | 'stale'
local id, token = ARGV[1], ARGV[2]
local held, status = holds(id, token)
if not held then return ended_already(id, token, status, 'hand_over') end
local to = status == 'cancelling' and 'cancelled' or waits_as(id)
if ARGV[3] ~= '' then set(id, to == 'cancelled' and 'result' or 'partial', ARGV[3]) end
end_attempt(id, to == 'queued' and 'handed_over' or to, 'hand_over')
leave(id, to)
touch(id)
return {'ok', to}
