-- Puts a message into the inbox, once.
-- KEYS: run, inbox, seen, due
-- ARGV: member, kind, id or token, type of the event, 1 = buffered, message, attempt that it is of ('' = whichever)
-- Gives {'unknown' | 'finished' | 'duplicate' | 'stale' | 'refused'} or {'accepted', owner}.
local run = redis.call('HMGET', KEYS[1], 'status', 'open', 'accepts', 'owner', 'until')
if not run[1] then return { 'unknown' } end
if run[1] ~= 'running' then return { 'finished' } end
local kind, id = ARGV[2], ARGV[3]

-- "*" = any, "order.*" = those that begin with "order." and that event itself, as XState has it.
local function accepts(event)
  for name in string.gmatch(run[3], '[^\n]+') do
    if name == '*' or name == event then return true end
    if string.sub(name, -2) == '.*' then
      local stem = string.sub(name, 1, -3)
      if event == stem or string.sub(event, 1, #stem + 1) == stem .. '.' then return true end
    end
  end
  return false
end

if kind == 'event' then
  if redis.call('SISMEMBER', KEYS[3], 'e' .. id) == 1 then return { 'duplicate' } end
  if ARGV[5] ~= '1' and not accepts(ARGV[4]) then return { 'refused' } end
  redis.call('SADD', KEYS[3], 'e' .. id)
elseif kind == 'completed' then
  local mark = 'c' .. id
  if ARGV[7] ~= '' and ARGV[7] ~= '1' then mark = mark .. '#' .. ARGV[7] end
  if redis.call('SISMEMBER', KEYS[3], mark) == 1 then return { 'duplicate' } end
  if not isOpen(run[2], 'e', effectOf(id)) or not isAttempt(run[2], id, ARGV[7]) then return { 'stale' } end
  redis.call('SADD', KEYS[3], mark)
elseif kind == 'timer' then
  if redis.call('SISMEMBER', KEYS[3], 't' .. id) == 1 then return { 'duplicate' } end
  if not isOpen(run[2], 't', id) then return { 'stale' } end
  redis.call('SADD', KEYS[3], 't' .. id)
elseif kind == 'heartbeat' then
  if not isOpen(run[2], 'e', effectOf(id)) or not isAttempt(run[2], id, ARGV[7]) then return { 'stale' } end
elseif redis.call('HEXISTS', KEYS[1], 'k:' .. kind) == 1 then
  return { 'duplicate' }
end
local position = redis.call('HINCRBY', KEYS[1], 'messages', 1) .. '-0'
redis.call('XADD', KEYS[2], position, 'm', ARGV[6])
if kind == 'cancel' or kind == 'terminate' or kind == 'deadline' then redis.call('HSET', KEYS[1], 'k:' .. kind, position) end
local at = now()
if run[4] ~= '' and tonumber(run[5]) > at then return { 'accepted', run[4] } end
redis.call('ZADD', KEYS[4], at, ARGV[1])
return { 'accepted' }
