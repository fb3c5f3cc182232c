-- ARGV: function, id, worker, try, what (done, again, dead, cancelled), delay in ms, 1 = a failure counts, ms that it is kept, 1 = its destination is
--   told, fields and values...
-- Gives {1, time, next time that something can be claimed or ''}, or {0} = it is somebody else's by now.
local fn, id, what = ARGV[1], ARGV[2], ARGV[5]
local known = redis.call('HMGET', record(id), 'owner', 'tries', 'status', 'cancel')
if known[1] ~= ARGV[3] or known[2] ~= ARGV[4] or known[3] ~= 'running' then return { 0 } end
local at = now()
redis.call('ZREM', of(fn, 'run'), id)
setFields(id, 10)
if what == 'again' or what == 'dead' then redis.call('HSET', record(id), 'failureAt', at) end
if what == 'again' and not known[4] then
  if ARGV[7] == '1' then
    redis.call('HINCRBY', record(id), 'failures', 1)
  else
    redis.call('HINCRBY', record(id), 'tries', -1)
  end
  local due = at + tonumber(ARGV[6])
  redis.call('HSET', record(id), 'status', 'queued', 'dueAt', due)
  redis.call('HDEL', record(id), 'owner')
  redis.call('ZADD', of(fn, 'due'), due, id)
else
  local status = 'cancelled'
  if what == 'done' then status = 'succeeded' elseif what == 'dead' then status = 'dead' end
  -- What it was called with is not needed any more; what was spilled is removed by whoever asked for this.
  if status == 'succeeded' then redis.call('HDEL', record(id), 'body') end
  if what == 'dead' and ARGV[7] == '1' then redis.call('HINCRBY', record(id), 'failures', 1) end
  finish(fn, id, status, at, tonumber(ARGV[8]), ARGV[9])
end
return { 1, at, tostring(setReady(fn, at, false) or '') }
