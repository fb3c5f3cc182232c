-- ARGV: timer, uid. Fires that were taken and not settled go when their turn comes.
local timer, uid = unpack(ARGV)
if redis.call('HGET', record(timer), 'uid') ~= uid then return 0 end
redis.call('DEL', record(timer), record(timer) .. ':log', record(timer) .. ':open', record(timer) .. ':tried')
redis.call('ZREM', DUE, timer)
return 1
