-- Stands before every script of this folder. All keys of a call share the hash tag of the run's partition.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Invariant 3: under a lease at its end, else at once with messages in the inbox, else when the record says. `wake`: '' = never.
-- What is due at once counts from now on, so that under a backlog the longest waiting come first.
local function setDue(due, member, inbox, status, owner, leaseUntil, wake, at)
  if status ~= 'running' then
    redis.call('ZREM', due, member)
  elseif owner ~= '' then
    redis.call('ZADD', due, leaseUntil, member)
  elseif redis.call('EXISTS', inbox) == 1 then
    redis.call('ZADD', due, at, member)
  elseif wake ~= '' then
    redis.call('ZADD', due, math.max(tonumber(wake), at), member)
  else
    redis.call('ZREM', due, member)
  end
end

-- Map data lies beside the run under its token; the tag is the run's.
local function closeMap(run, token)
  local stem = string.gsub(run, '}:run:', '}:map:', 1) .. ':' .. token
  redis.call('UNLINK', stem .. ':items', stem .. ':results')
  redis.call('HDEL', run, 'm:' .. token)
end

local function closeAllMaps(run)
  for _, field in ipairs(redis.call('HKEYS', run)) do
    if string.sub(field, 1, 2) == 'm:' then closeMap(run, string.sub(field, 3)) end
  end
end

local function eachPayload(payloads, act)
  local stem = string.gsub(payloads, '}:payloads:', '}:payload:', 1) .. ':'
  for _, name in ipairs(redis.call('SMEMBERS', payloads)) do act(stem .. name) end
end

local function effectOf(token)
  return string.match(token, '^[^.]*%.[^.]*') or token
end

-- Whether an effect is at an attempt: the text holds those only that are not at their first. '' = any; items keep their attempts elsewhere.
local function isAttempt(open, token, attempt)
  if attempt == '' or effectOf(token) ~= token then return true end
  if attempt == '1' then return string.find(open, ';a' .. token .. '#', 1, true) == nil end
  return string.find(open, ';a' .. token .. '#' .. attempt .. ';', 1, true) ~= nil
end

local function isOpen(open, letter, token)
  return string.find(open, ';' .. letter .. token .. ';', 1, true) ~= nil
end

-- Lines of history: the store's time, a semicolon, the entry as JSON. From ARGV[from] to the end.
local function addHistory(history, at, from)
  local lines = {}
  for i = from, #ARGV do
    lines[#lines + 1] = at .. ';' .. ARGV[i]
    -- Lua's stack holds some thousands.
    if #lines == 500 then
      redis.call('RPUSH', history, unpack(lines))
      lines = {}
    end
  end
  if #lines > 0 then redis.call('RPUSH', history, unpack(lines)) end
end
