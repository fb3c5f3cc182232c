-- Dead letters wait again, as if they were new. ARGV: id and where its body is from now on ('' = as it is) of each...
-- Gives {how many, spills that nothing names now...}.
local at = now()
local redriven = { 0 }
for i = 1, #ARGV, 2 do
  local id, spill = ARGV[i], ARGV[i + 1]
  local known = redis.call('HMGET', record(id), 'status', 'fn', 'spill')
  local unused = known[3] ~= spill and spill
  if known[1] == 'dead' then
    local fn = known[2]
    redis.call('ZREM', of(fn, 'dead'), id)
    redis.call('ZREM', T .. ':ended', id)
    redis.call('ZREM', T .. ':outbox', id)
    redis.call('HSET', record(id), 'status', 'queued', 'failures', 0, 'lost', 0, 'ageFrom', at, 'dueAt', at)
    redis.call('HDEL', record(id), 'endedAt', 'failureReason', 'failureStatus', 'failureMessage', 'failureAt', 'destination')
    redis.call('HINCRBY', record(id), 'redrives', 1)
    pin(fn, id, 1)
    redis.call('ZADD', of(fn, 'due'), at, id)
    setReady(fn, at, false)
    redriven[1] = redriven[1] + 1
    if unused and unused ~= '' then
      redis.call('HSET', record(id), 'spill', spill)
      unused = known[3]
    end
  end
  if unused and unused ~= '' then redriven[#redriven + 1] = unused end
end
return redriven
