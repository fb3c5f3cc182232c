-- Notes something beside an item that has no result yet.
-- KEYS: run, results
-- ARGV: worker, epoch, token, field, text
-- Gives 1, or 0 = the lease is lost, the effect is closed.
local run = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'open')
if run[1] ~= ARGV[2] or run[2] ~= ARGV[1] or not isOpen(run[3], 'e', ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'm:' .. ARGV[3], 1)
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
return 1
