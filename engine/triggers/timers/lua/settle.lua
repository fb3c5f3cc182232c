-- ARGV: timer, fire, entry of the log or '', id of the invocation or ''. 1 = it was open until now.
local timer, fire, entry, invocation = unpack(ARGV)
redis.call('ZREM', TAKEN, fire)
if redis.call('ZREM', record(timer) .. ':open', fire) == 0 then return 0 end
redis.call('SREM', record(timer) .. ':tried', fire)
if entry ~= '' then log(timer, entry) end
if invocation ~= '' then redis.call('HSET', record(timer), 'invocation', invocation) end
return 1
