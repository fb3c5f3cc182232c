-- Takes a run that is due under a new epoch, unless a worker has it.
-- KEYS: run, facts, state, inbox, due
-- ARGV: member, worker, lease in ms, the newest format that the worker knows, most messages
-- Gives {'unknown' | 'finished' | 'newer-format' | 'idle'}, {'held', owner}, or
-- {'claimed', epoch, version, startedAt, updatedAt, facts, state, messages}.
local run = redis.call('HMGET', KEYS[1], 'status', 'format', 'owner', 'until', 'version', 'startedAt', 'updatedAt', 'epoch')
if not run[1] then
  redis.call('ZREM', KEYS[5], ARGV[1])
  return { 'unknown' }
end
if run[1] ~= 'running' then return { 'finished' } end
local at = now()
if tonumber(run[2]) > tonumber(ARGV[4]) then
  -- For a newer worker to find; it does not stand before those that this one may take.
  if run[3] == '' then redis.call('ZADD', KEYS[5], at + 1000, ARGV[1]) end
  return { 'newer-format' }
end
if run[3] ~= '' and tonumber(run[4]) > at then return { 'held', run[3] } end
local due = redis.call('ZSCORE', KEYS[5], ARGV[1])
if not due or tonumber(due) > at then return { 'idle' } end
-- At least the time, so that an epoch which the store has lost (a crash without fsync) is not given again.
local epoch = math.max(tonumber(run[8]) + 1, at)
local leaseUntil = at + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', ARGV[2], 'until', leaseUntil)
redis.call('ZADD', KEYS[5], leaseUntil, ARGV[1])
return { 'claimed', epoch, run[5], run[6], run[7], redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3]),
  redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', ARGV[5]) }
