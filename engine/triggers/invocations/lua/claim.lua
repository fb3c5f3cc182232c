-- ARGV: function, most that run at once, most to take, worker, lease in ms, leases that an invocation may lose, ms that dead letters are kept
-- Gives {time, next time that something can be claimed or '', fields of one, fields of another...}
local fn, limit, wanted, worker = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local at = now()
local taken = { at, '' }

local function die(id, status, reason, message)
  redis.call('HSET', record(id), 'failureStatus', status, 'failureReason', reason, 'failureMessage', message, 'failureAt', at)
  local outbox = redis.call('HEXISTS', record(id), 'onFailure')
  finish(fn, id, 'dead', at, tonumber(ARGV[7]), tostring(outbox))
end

-- Whoever had them is gone: they wait again.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', of(fn, 'run'), '-inf', at, 'LIMIT', 0, 100)) do
  redis.call('ZREM', of(fn, 'run'), id)
  if redis.call('EXISTS', record(id)) == 1 then
    if redis.call('HEXISTS', record(id), 'cancel') == 1 then
      finish(fn, id, 'cancelled', at, tonumber(ARGV[7]), '0')
    elseif redis.call('HINCRBY', record(id), 'lost', 1) > tonumber(ARGV[6]) then
      die(id, 0, 'lease_lost', 'Whoever delivered it was gone before its end, too often')
    else
      redis.call('HSET', record(id), 'status', 'queued', 'dueAt', at)
      redis.call('HDEL', record(id), 'owner')
      redis.call('ZADD', of(fn, 'due'), at, id)
    end
  end
end

local room = math.min(limit - redis.call('ZCARD', of(fn, 'run')), wanted)
if room > 0 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', of(fn, 'due'), '-inf', at, 'LIMIT', 0, room)) do
    redis.call('ZREM', of(fn, 'due'), id)
    local known = redis.call('HMGET', record(id), 'ageFrom', 'maxAgeMs', 'failureReason')
    if known[1] and known[2] and tonumber(known[1]) + tonumber(known[2]) <= at then
      if known[3] then
        local outbox = redis.call('HEXISTS', record(id), 'onFailure')
        finish(fn, id, 'dead', at, tonumber(ARGV[7]), tostring(outbox))
      else
        die(id, 0, 'expired', 'It was not delivered within ' .. known[2] .. ' ms')
      end
    elseif known[1] then
      redis.call('HINCRBY', record(id), 'tries', 1)
      redis.call('HSET', record(id), 'status', 'running', 'owner', worker, 'startedAt', at)
      redis.call('ZADD', of(fn, 'run'), at + tonumber(ARGV[5]), id)
      taken[#taken + 1] = redis.call('HGETALL', record(id))
    end
  end
end
taken[2] = tostring(setReady(fn, at, redis.call('ZCARD', of(fn, 'run')) >= limit) or '')
return taken
