-- ARGV: function, id, digest of the dedup key or '', ms that it counts, delay in ms, most that may wait, fields and values...
-- Gives {1, time} = taken, {0, id} = there already as `id`, {2} = too many wait.
local fn, id = ARGV[1], ARGV[2]
local at = now()
if redis.call('EXISTS', record(id)) == 1 then return { 1, at } end
local dedup = T .. ':d:' .. fn .. ':' .. ARGV[3]
if ARGV[3] ~= '' then
  local first = redis.call('GET', dedup)
  if first and redis.call('EXISTS', record(first)) == 1 then return { 0, first } end
end
if redis.call('ZCARD', of(fn, 'due')) >= tonumber(ARGV[6]) then return { 2 } end
if ARGV[3] ~= '' then redis.call('SET', dedup, id, 'PX', ARGV[4]) end
local due = at + tonumber(ARGV[5])
redis.call('HSET', record(id), 'fn', fn, 'status', 'queued', 'acceptedAt', at, 'ageFrom', due, 'dueAt', due, 'tries', 0, 'failures', 0, 'lost', 0)
setFields(id, 7)
pin(fn, id, 1)
redis.call('ZADD', of(fn, 'all'), at, id)
redis.call('ZADD', of(fn, 'due'), due, id)
redis.call('SADD', T .. ':fns', fn)
local before = tonumber(redis.call('ZSCORE', KEYS[1], fn))
if not before or before > due then
  redis.call('ZADD', KEYS[1], due, fn)
  if due <= at then redis.call('PUBLISH', 'ev:ready', fn) end
end
return { 1, at }
