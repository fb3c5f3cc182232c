-- ARGV: how far ahead in ms (negative: how far behind), for how long a fire was left, how many. Gives the time, timers that come due {name, in ms, uid, generation, next}..., fires whose taker is gone.
local at = now()
local timers = {}
local due = redis.call('ZRANGE', DUE, '-inf', at + tonumber(ARGV[1]), 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
for i = 1, #due, 2 do
  local known = redis.call('HMGET', record(due[i]), 'uid', 'generation', 'next')
  timers[#timers + 1] = { due[i], tonumber(due[i + 1]) - at, known[1] or '', known[2] or '0', known[3] or '' }
end
return { at, timers, redis.call('ZRANGE', TAKEN, '-inf', at - tonumber(ARGV[2]), 'BYSCORE', 'LIMIT', 0, ARGV[3]) }
