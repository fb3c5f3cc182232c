-- One transition (or several) of a run: record, history, timers, index, inbox, all or nothing (invariants 1 and 2).
-- KEYS: run, state, history, inbox, due; of a run that ends also namespace index old, workflow index old, namespace index new, workflow index new, ended
-- ARGV: member, id, worker, epoch, expected version, version, status, open, accepts, states, wake, release, state,
--   number of closed maps, their tokens..., number of taken messages, their positions..., history entries...
-- Gives {0} = conflict, or {1, time, 1 if messages are left}.
local run = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'version', 'status', 'startedAt', 'until')
if run[1] ~= ARGV[4] or run[2] ~= ARGV[3] or run[3] ~= ARGV[5] or run[4] ~= 'running' then return { 0 } end
local at = now()
local status = ARGV[7]
redis.call('SET', KEYS[2], ARGV[13])
local argument = 14
for i = 1, tonumber(ARGV[argument]) do
  closeMap(KEYS[1], ARGV[argument + i])
end
argument = argument + tonumber(ARGV[argument]) + 1
local taken = tonumber(ARGV[argument])
if taken > 0 then
  local asked = redis.call('HMGET', KEYS[1], 'k:cancel', 'k:terminate', 'k:deadline')
  for i = argument + 1, argument + taken do
    redis.call('XDEL', KEYS[4], ARGV[i])
    if asked[1] == ARGV[i] then redis.call('HDEL', KEYS[1], 'k:cancel') end
    if asked[2] == ARGV[i] then redis.call('HDEL', KEYS[1], 'k:terminate') end
    if asked[3] == ARGV[i] then redis.call('HDEL', KEYS[1], 'k:deadline') end
  end
  if redis.call('XLEN', KEYS[4]) == 0 then redis.call('DEL', KEYS[4]) end
end
addHistory(KEYS[3], at, argument + taken + 1)
local owner, leaseUntil = run[2], run[6]
local left = 0
if status == 'running' then
  left = redis.call('EXISTS', KEYS[4])
else
  redis.call('DEL', KEYS[4])
  closeAllMaps(KEYS[1])
  redis.call('HSET', KEYS[1], 'finishedAt', at)
  redis.call('HDEL', KEYS[1], 'k:cancel', 'k:terminate', 'k:deadline')
  redis.call('ZREM', KEYS[6], ARGV[2])
  redis.call('ZREM', KEYS[7], ARGV[2])
  redis.call('ZADD', KEYS[8], run[5], ARGV[2])
  redis.call('ZADD', KEYS[9], run[5], ARGV[2])
  redis.call('ZADD', KEYS[10], at, ARGV[1])
end
if status ~= 'running' or (ARGV[12] == '1' and left == 0) then owner, leaseUntil = '', 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[6], 'status', status, 'open', ARGV[8], 'accepts', ARGV[9], 'states', ARGV[10],
  'wake', ARGV[11], 'updatedAt', at, 'owner', owner, 'until', leaseUntil)
-- Under a lease it is due at the lease's end, as it was.
if owner == '' then setDue(KEYS[5], ARGV[1], KEYS[4], status, owner, leaseUntil, ARGV[11], at) end
return { 1, at, left }
