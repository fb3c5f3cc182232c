-- ARGV: timer, uid, when it was made, generation, schedule, next time and when that is due: where it is new here, and where its schedule has changed.
-- Gives 'new', 'changed', 'kept', or 'older' = another object or a later generation is known.
local timer, uid, made, generation, schedule, first, firstDue, next, due = unpack(ARGV)
local known = redis.call('HMGET', record(timer), 'uid', 'made', 'generation', 'schedule')
if known[1] == uid then
  if tonumber(known[3]) > tonumber(generation) then return 'older' end
  redis.call('HSET', record(timer), 'generation', generation)
  if known[4] == schedule then return 'kept' end
  redis.call('HSET', record(timer), 'schedule', schedule)
  setNext(timer, next, due)
  return 'changed'
end
if known[1] and tonumber(known[2]) > tonumber(made) then return 'older' end
redis.call('DEL', record(timer), record(timer) .. ':log', record(timer) .. ':open', record(timer) .. ':tried')
redis.call('HSET', record(timer), 'uid', uid, 'made', made, 'generation', generation, 'schedule', schedule)
setNext(timer, first, firstDue)
return 'new'
