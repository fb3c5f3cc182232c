-- One consistent view of a run.
-- KEYS: run, facts, state
-- Gives version, status, startedAt, updatedAt, finishedAt, facts, state; or nothing.
local run = redis.call('HMGET', KEYS[1], 'version', 'status', 'startedAt', 'updatedAt', 'finishedAt')
if not run[1] then return {} end
return { run[1], run[2], run[3], run[4], run[5] or '', redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3]) }
