-- ARGV: id (of a task), token, lines for its study's timeline (see `tell_lines`)
-- -> 'ok', status | 'stale'
local id = ARGV[1]
local held, status = holds(id, ARGV[2])
if not held then return {'stale'} end
local of = study_of(id) or id
tell_lines(of, ARGV[3])
touch(of)
return {'ok', status}
