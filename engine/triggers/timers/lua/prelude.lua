-- Stands before every script of this folder. KEYS[1] = `{ev:<partition>}:timers`; every other key begins with it.
local T = KEYS[1]
local DUE, TAKEN = T .. ':due', T .. ':taken'
local KEPT = 50

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function record(timer)
  return T .. ':timer:' .. timer
end

local function log(timer, entry)
  local key = record(timer) .. ':log'
  redis.call('LPUSH', key, entry)
  redis.call('LTRIM', key, 0, KEPT - 1)
end

-- No next time: '' for both.
local function setNext(timer, next, due)
  redis.call('HSET', record(timer), 'next', next)
  if next == '' then
    redis.call('ZREM', DUE, timer)
  else
    redis.call('ZADD', DUE, due, timer)
  end
end
