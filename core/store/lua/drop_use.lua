-- ARGV: id -> 'ok' | 'missing'
-- The use is gone for all readers; its artifacts lie in the trash.
if not field(ARGV[1], 'status') then return {'missing'} end
drop_use(ARGV[1])
return {'ok'}
