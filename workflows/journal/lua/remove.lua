-- Removes a run that has ended, whole.
-- KEYS: run, facts, state, history, inbox, seen, payloads, due, ended, then namespace and workflow index of each way to end
-- ARGV: member, id
-- Gives 1, or 0 = there is none, or it has not ended.
local status = redis.call('HGET', KEYS[1], 'status')
if not status or status == 'running' then return 0 end
closeAllMaps(KEYS[1])
eachPayload(KEYS[7], function(key) redis.call('UNLINK', key) end)
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
redis.call('ZREM', KEYS[8], ARGV[1])
redis.call('ZREM', KEYS[9], ARGV[1])
for i = 10, #KEYS do redis.call('ZREM', KEYS[i], ARGV[2]) end
return 1
