-- Appends a message to a topic.
-- KEYS[1] stream; ARGV[1] most messages that it holds; ARGV[2..] fields and values
-- Returns the message's id; nothing when the topic is full of messages that a group has not dealt with.
local most = tonumber(ARGV[1])
local function older(a, b)
  local aMs, aSeq = string.match(a, "(%d+)-(%d+)")
  local bMs, bSeq = string.match(b, "(%d+)-(%d+)")
  if tonumber(aMs) ~= tonumber(bMs) then return tonumber(aMs) < tonumber(bMs) end
  return tonumber(aSeq) < tonumber(bSeq)
end
if redis.call("XLEN", KEYS[1]) >= most then
  local floor
  for _, group in ipairs(redis.call("XINFO", "GROUPS", KEYS[1])) do
    local facts = {}
    for i = 1, #group, 2 do facts[group[i]] = group[i + 1] end
    -- What was read last may go only if nothing before it waits for its acknowledgement.
    local reached = facts["last-delivered-id"]
    local pending = redis.call("XPENDING", KEYS[1], facts["name"])
    if pending[1] > 0 and older(pending[2], reached) then reached = pending[2] end
    if not floor or older(reached, floor) then floor = reached end
  end
  -- A tenth goes at once, so that not every message pays for it.
  local spare = math.floor(most / 10) + 1
  if not floor then
    redis.call("XTRIM", KEYS[1], "MAXLEN", most - spare)
  else
    local first = redis.call("XRANGE", KEYS[1], "-", "+", "COUNT", spare)
    local last = first[#first][1]
    if older(floor, last) then last = floor end
    redis.call("XTRIM", KEYS[1], "MINID", last)
  end
  if redis.call("XLEN", KEYS[1]) >= most then return "" end
end
return redis.call("XADD", KEYS[1], "*", unpack(ARGV, 2))
