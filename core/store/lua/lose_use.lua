-- ARGV: id, token, how often a use may lose its worker -> 'ok' | 'stale'
if not uses(ARGV[1], ARGV[2]) then return {'stale'} end
lose_use(ARGV[1], ARGV[3])
return {'ok'}
