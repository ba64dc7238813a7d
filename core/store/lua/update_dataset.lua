-- ARGV: id, version that it must have or '', labels (JSON) or '', field, value ... (an empty value
-- removes the field) -> 'ok', record | 'changed' | 'missing'
local id = ARGV[1]
local version = field(id, 'version')
if not version then return {'missing'} end
if ARGV[2] ~= '' and version ~= ARGV[2] then return {'changed'} end
if ARGV[3] ~= '' then
  for name, value in pairs(cjson.decode(field(id, 'labels') or '{}')) do
    redis.call('ZREM', label_key(id, name .. '=' .. value), id)
  end
  for name, value in pairs(cjson.decode(ARGV[3])) do
    redis.call('ZADD', label_key(id, name .. '=' .. value), 0, id)
  end
  set(id, 'labels', ARGV[3])
end
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '' then unset(id, ARGV[i]) else set(id, ARGV[i], ARGV[i + 1]) end
end
enter_expiry(id)
touch(id)
return {'ok', redis.call('HGETALL', job_key(id))}
