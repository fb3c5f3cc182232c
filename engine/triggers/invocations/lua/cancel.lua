-- ARGV: id, ms that it is kept. Gives the status that it has now; '' = unknown.
local id = ARGV[1]
local known = redis.call('HMGET', record(id), 'status', 'fn')
if not known[1] then return '' end
if known[1] == 'running' then
  redis.call('HSET', record(id), 'cancel', '1')
  redis.call('PUBLISH', 'ev:cancel', id)
  return 'running'
end
if known[1] ~= 'queued' then return known[1] end
local at = now()
redis.call('ZREM', of(known[2], 'due'), id)
finish(known[2], id, 'cancelled', at, tonumber(ARGV[2]), '0')
setReady(known[2], at, false)
return 'cancelled'
