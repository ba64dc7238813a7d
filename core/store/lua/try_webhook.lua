-- ARGV: event, URL, format, owner or '' -> the record of a message that is sent once
local more = ARGV[4] ~= '' and {'owner', ARGV[4]} or {}
local id = add_message(ARGV[1], '', ARGV[2], ARGV[3], 'once', '1', unpack(more))
return redis.call('HGETALL', job_key(id))
