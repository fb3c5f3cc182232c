-- What came of telling of an invocation. ARGV: id, the report or '', ms after which it is tried again or '' = it is not.
local id, report, pause = ARGV[1], ARGV[2], ARGV[3]
-- A record that is gone must not come back as a stump.
if report ~= '' and redis.call('EXISTS', record(id)) == 1 then
  redis.call('HSET', record(id), 'destination', report)
end
if pause == '' then
  redis.call('ZREM', T .. ':outbox', id)
else
  redis.call('ZADD', T .. ':outbox', 'XX', now() + tonumber(pause), id)
end
