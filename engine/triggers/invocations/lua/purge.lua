-- Dead letters go for good. ARGV: ids... Gives {how many, what they have spilled...}.
local gone = { 0 }
for _, id in ipairs(ARGV) do
  local known = redis.call('HMGET', record(id), 'status', 'fn')
  if known[1] == 'dead' then
    forget(known[2], id, gone)
    gone[1] = gone[1] + 1
  end
end
return gone
