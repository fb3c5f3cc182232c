-- Stores a new run. Nothing is changed when there is one of that id.
-- KEYS: run, facts, state, history, due, index of the namespace's runs of that status, the same of the workflow, payloads
-- ARGV: member, id, workflow, format, version, status, open, accepts, states, wake, facts, state, history entries...
-- Gives 1 and the time, or 0.
if redis.call('EXISTS', KEYS[1]) == 1 then return { 0, 0 } end
local at = now()
redis.call('HSET', KEYS[1], 'workflow', ARGV[3], 'format', ARGV[4], 'version', ARGV[5], 'status', ARGV[6], 'open', ARGV[7],
  'accepts', ARGV[8], 'states', ARGV[9], 'wake', ARGV[10], 'epoch', 0, 'owner', '', 'until', 0, 'startedAt', at, 'updatedAt', at)
redis.call('SET', KEYS[2], ARGV[11])
-- Its input may have been stored before it.
if redis.call('PERSIST', KEYS[8]) == 1 then
  eachPayload(KEYS[8], function(key) redis.call('PERSIST', key) end)
end
redis.call('SET', KEYS[3], ARGV[12])
addHistory(KEYS[4], at, 13)
if ARGV[10] ~= '' then redis.call('ZADD', KEYS[5], math.max(tonumber(ARGV[10]), at), ARGV[1]) end
redis.call('ZADD', KEYS[6], at, ARGV[2])
redis.call('ZADD', KEYS[7], at, ARGV[2])
return { 1, at }
