-- Takes a run up again that has ended.
-- KEYS: run, state, history, due, namespace index running, workflow index running, ended, namespace and workflow index of each way to end
-- ARGV: member, id, expected version, version, open, accepts, states, wake, state, history entries...
-- Gives 1, or 0 = conflict.
local run = redis.call('HMGET', KEYS[1], 'version', 'status', 'startedAt')
if run[1] ~= ARGV[3] or run[2] == 'running' then return 0 end
local at = now()
redis.call('SET', KEYS[2], ARGV[9])
redis.call('HSET', KEYS[1], 'version', ARGV[4], 'status', 'running', 'open', ARGV[5], 'accepts', ARGV[6], 'states', ARGV[7],
  'wake', ARGV[8], 'updatedAt', at, 'owner', '', 'until', 0)
redis.call('HDEL', KEYS[1], 'finishedAt')
for i = 8, #KEYS do redis.call('ZREM', KEYS[i], ARGV[2]) end
redis.call('ZREM', KEYS[7], ARGV[1])
redis.call('ZADD', KEYS[5], run[3], ARGV[2])
redis.call('ZADD', KEYS[6], run[3], ARGV[2])
if ARGV[8] ~= '' then redis.call('ZADD', KEYS[4], math.max(tonumber(ARGV[8]), at), ARGV[1]) end
addHistory(KEYS[3], at, 10)
return 1
