-- Stands before every script of this folder. KEYS[1] = `{ev:<partition>}:ready`; every other key lies under the same tag.
local T = string.sub(KEYS[1], 1, -7)

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function of(fn, what)
  return T .. ':f:' .. fn .. ':' .. what
end

local function record(id)
  return T .. ':i:' .. id
end

-- Invariant 3. What waits counts only where there is room. Who listens is told when that is at once, and was later before.
local function setReady(fn, at, full)
  local ready
  if not full then ready = tonumber(redis.call('ZRANGE', of(fn, 'due'), 0, 0, 'WITHSCORES')[2]) end
  local lease = tonumber(redis.call('ZRANGE', of(fn, 'run'), 0, 0, 'WITHSCORES')[2])
  if lease and (not ready or lease < ready) then ready = lease end
  if not ready then
    redis.call('ZREM', KEYS[1], fn)
    return false
  end
  local before = tonumber(redis.call('ZSCORE', KEYS[1], fn))
  redis.call('ZADD', KEYS[1], ready, fn)
  if ready <= at and (not before or before > at) then redis.call('PUBLISH', 'ev:ready', fn) end
  return ready
end

local function setFields(id, from)
  for i = from, #ARGV, 2 do
    redis.call('HSET', record(id), ARGV[i], ARGV[i + 1])
  end
end

-- Invariant 6.
local function pin(fn, id, by)
  local version = redis.call('HGET', record(id), 'version')
  if version and redis.call('HINCRBY', of(fn, 'pins'), version, by) <= 0 then redis.call('HDEL', of(fn, 'pins'), version) end
end

-- Invariant 4. `outbox` '1': its destination is told.
local function finish(fn, id, status, at, ttl, outbox)
  redis.call('HSET', record(id), 'status', status, 'endedAt', at)
  redis.call('HDEL', record(id), 'owner', 'cancel')
  pin(fn, id, -1)
  redis.call('ZADD', T .. ':ended', at + ttl, id)
  if status == 'dead' then redis.call('ZADD', of(fn, 'dead'), at, id) end
  if outbox == '1' then redis.call('ZADD', T .. ':outbox', at, id) end
end

-- Everything of an invocation goes, but what it has spilled: that is for the caller to remove.
local function forget(fn, id, spills)
  for _, spill in ipairs(redis.call('HMGET', record(id), 'spill', 'resultSpill')) do
    if spill then spills[#spills + 1] = spill end
  end
  redis.call('UNLINK', record(id))
  for _, set in ipairs({ 'all', 'due', 'run', 'dead' }) do redis.call('ZREM', of(fn, set), id) end
  redis.call('ZREM', T .. ':ended', id)
  redis.call('ZREM', T .. ':outbox', id)
  if redis.call('EXISTS', of(fn, 'all')) == 0 then redis.call('SREM', T .. ':fns', fn) end
end
