-- ARGV: id, version that it must have or ''
-- -> 'ok', content that nobody has any more or '' | 'in_use', job or study | 'kept' | 'changed' | 'missing'
local id = ARGV[1]
local version = field(id, 'version')
if not version then return {'missing'} end
if ARGV[2] ~= '' and version ~= ARGV[2] then return {'changed'} end
local user = user_of(id)
if user then return {'in_use', user} end
if kept_until(id) > now_ms() then return {'kept'} end
return {'ok', drop_data(id)}
