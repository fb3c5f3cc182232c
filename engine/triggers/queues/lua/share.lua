-- Shares triggers out over the replicas that are alive, by the store's clock. A trigger has a place for each replica that may take part in it; equal shares
-- are of first places, the others are for whoever has none of that trigger.
-- KEYS[1] replicas (name -> last seen); KEYS[2..] leases of the places, in the same order for all replicas
-- ARGV[1] name of this replica; ARGV[2] duration of a lease in ms; ARGV[3..] for each place, where in KEYS its trigger's first place is
-- Returns for each place: 1 = held by this replica; 2 = held, but beyond its share: to be let go of; 0 = not held.
local name, ttl = ARGV[1], tonumber(ARGV[2])
local now = nowMs()
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now - ttl)
redis.call("ZADD", KEYS[1], now, name)
local function firstOf(i) return tonumber(ARGV[i + 1]) end
local triggers = 0
for i = 2, #KEYS do
  if firstOf(i) == i then triggers = triggers + 1 end
end
-- What cannot be divided goes to those whose names come first.
local replicas = redis.call("ZRANGE", KEYS[1], 0, -1)
table.sort(replicas)
local share = math.floor(triggers / #replicas)
for rank = 1, triggers % #replicas do
  if replicas[rank] == name then share = share + 1 end
end
local held, result, mine = 0, {}, {}
local function hold(i)
  mine[firstOf(i)] = true
  if firstOf(i) == i then held = held + 1 end
  result[i - 1] = held > share and firstOf(i) == i and 2 or 1
end
for i = 2, #KEYS do
  result[i - 1] = result[i - 1] or 0
  if redis.call("GET", KEYS[i]) == name then
    local first = firstOf(i)
    local place = i
    -- Who holds the first place speaks for the trigger: somebody is to.
    if i ~= first and redis.call("SET", KEYS[first], name, "NX", "PX", ttl) then
      redis.call("DEL", KEYS[i])
      place = first
    end
    redis.call("PEXPIRE", KEYS[place], ttl)
    hold(place)
  end
end
for i = 2, #KEYS do
  local first = firstOf(i)
  local may = not mine[first] and (i ~= first or held < share)
  if may and redis.call("SET", KEYS[i], name, "NX", "PX", ttl) then hold(i) end
end
return result
