-- ARGV: lease in ms, worker, then function, id and try of each...
-- Gives for each: 1 = goes on, 2 = it shall be cancelled, 0 = somebody else's.
local at = now()
local said = {}
for i = 3, #ARGV, 3 do
  local known = redis.call('HMGET', record(ARGV[i + 1]), 'owner', 'tries', 'status', 'cancel')
  if known[1] == ARGV[2] and known[2] == ARGV[i + 2] and known[3] == 'running' then
    redis.call('ZADD', of(ARGV[i], 'run'), at + tonumber(ARGV[1]), ARGV[i + 1])
    said[#said + 1] = known[4] and 2 or 1
  else
    said[#said + 1] = 0
  end
end
return said
