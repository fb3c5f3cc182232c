-- A dead letter that was never queued here. ARGV: function, id, digest of the dedup key or '', ms that it is kept, fields and values...
-- Gives {1, time}, or {0, id} = there already.
local fn, id = ARGV[1], ARGV[2]
local at = now()
if redis.call('EXISTS', record(id)) == 1 then return { 1, at } end
if ARGV[3] ~= '' then
  local dedup = T .. ':d:' .. fn .. ':' .. ARGV[3]
  local first = redis.call('GET', dedup)
  if first and redis.call('EXISTS', record(first)) == 1 then return { 0, first } end
  redis.call('SET', dedup, id, 'PX', ARGV[4])
end
redis.call('HSET', record(id), 'fn', fn, 'acceptedAt', at, 'ageFrom', at, 'dueAt', at, 'tries', 0, 'failures', 0, 'lost', 0, 'failureAt', at)
setFields(id, 5)
redis.call('ZADD', of(fn, 'all'), at, id)
redis.call('SADD', T .. ':fns', fn)
pin(fn, id, 1)
finish(fn, id, 'dead', at, tonumber(ARGV[4]), '0')
return { 1, at }
