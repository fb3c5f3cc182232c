-- Lets go of leases, as far as they are this replica's.
-- KEYS leases; ARGV[1] name of this replica
for i = 1, #KEYS do
  if redis.call("GET", KEYS[i]) == ARGV[1] then redis.call("DEL", KEYS[i]) end
end
return 1
