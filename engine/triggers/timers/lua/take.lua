-- Takes the fires that have come due and sets the time after them: all or nothing, once.
-- ARGV: timer, uid, generation, time that was next, next time, when that is due, ms until others may settle, the latest time decided on,
-- entry of what was missed or '', then scheduled time and fire of each.
-- Gives 'taken', 'early', or 'moved' = somebody else has decided on this time, or the timer has changed.
local timer, uid, generation, expected, next, due, lease, last, missed = unpack(ARGV)
local known = redis.call('HMGET', record(timer), 'uid', 'generation', 'next')
if known[1] ~= uid or known[2] ~= generation or known[3] ~= expected then return 'moved' end
local at = now()
if tonumber(redis.call('ZSCORE', DUE, timer)) > at then return 'early' end
setNext(timer, next, due)
redis.call('HSET', record(timer), 'last', last)
if missed ~= '' then log(timer, missed) end
for i = 10, #ARGV, 2 do
  redis.call('ZADD', TAKEN, at + tonumber(lease), ARGV[i + 1])
  redis.call('ZADD', record(timer) .. ':open', ARGV[i], ARGV[i + 1])
end
return 'taken'
