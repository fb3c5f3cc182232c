-- Prolongs a lease, also one that has run out as long as nobody else has taken the run.
-- KEYS: run, inbox, due
-- ARGV: member, worker, epoch, lease in ms
-- Gives 0 = lost, 1 = kept, 2 = kept and messages wait.
local run = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'status')
if run[1] ~= ARGV[3] or run[2] ~= ARGV[2] or run[3] ~= 'running' then return 0 end
local leaseUntil = now() + tonumber(ARGV[4])
redis.call('HSET', KEYS[1], 'until', leaseUntil)
redis.call('ZADD', KEYS[3], leaseUntil, ARGV[1])
return 1 + redis.call('EXISTS', KEYS[2])
