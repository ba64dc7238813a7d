-- ARGV: id, status, content or '', its digest, field, value ... -> 'ok', content | 'missing'
-- The end of a check; of one that is not being checked any more (it was deleted, or its lease ran
-- out) nothing is written.
local id, status = ARGV[1], ARGV[2]
if field(id, 'status') ~= 'checking' then return {'missing'} end
if #ARGV > 4 then set(id, unpack(ARGV, 5)) end
local file = ARGV[3] ~= '' and attach(id, ARGV[3], ARGV[4]) or ''
settle_data(id, status)
return {'ok', file}
