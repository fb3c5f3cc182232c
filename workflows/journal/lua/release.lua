-- Gives a lease back. A lease that is another's by now is left alone.
-- KEYS: run, inbox, due
-- ARGV: member, worker, epoch
local run = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'status', 'wake')
if run[1] ~= ARGV[3] or run[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'owner', '', 'until', 0)
setDue(KEYS[3], ARGV[1], KEYS[2], run[3], '', 0, run[4], now())
return 1
