-- What ended long ago goes. ARGV: most at once. Gives {how many, what they have spilled...}.
local gone = { 0 }
for _, id in ipairs(redis.call('ZRANGEBYSCORE', T .. ':ended', '-inf', now(), 'LIMIT', 0, tonumber(ARGV[1]))) do
  local fn = redis.call('HGET', record(id), 'fn')
  if fn then
    forget(fn, id, gone)
  else
    redis.call('ZREM', T .. ':ended', id)
  end
  gone[1] = gone[1] + 1
end
return gone
