-- Stores items of a map.
-- KEYS: run, items
-- ARGV: worker, epoch, token, index of the first, items...
-- Gives 1, or 0 = the lease is lost.
local run = redis.call('HMGET', KEYS[1], 'epoch', 'owner')
if run[1] ~= ARGV[2] or run[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'm:' .. ARGV[3], 1)
local from = tonumber(ARGV[4])
for i = 5, #ARGV do redis.call('HSET', KEYS[2], from + i - 5, ARGV[i]) end
return 1
