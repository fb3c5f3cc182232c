-- Accepts the first result of an item.
-- KEYS: run, results
-- ARGV: worker, epoch, token, index, result, 1 = failed
-- Gives 'stored', 'duplicate' or 'conflict' (the lease is lost, the effect is closed).
local run = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'open')
if run[1] ~= ARGV[2] or run[2] ~= ARGV[1] or not isOpen(run[3], 'e', ARGV[3]) then return 'conflict' end
if redis.call('HSETNX', KEYS[2], ARGV[4], ARGV[5]) == 0 then return 'duplicate' end
redis.call('HDEL', KEYS[2], 's' .. ARGV[4], 'o' .. ARGV[4], 'b' .. ARGV[4])
redis.call('HSET', KEYS[1], 'm:' .. ARGV[3], 1)
redis.call('HINCRBY', KEYS[2], 'done', 1)
if ARGV[6] == '1' then redis.call('HINCRBY', KEYS[2], 'failed', 1) end
return 'stored'
