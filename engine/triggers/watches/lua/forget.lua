-- ARGV: owner, uid.
if not owns(ARGV[1], ARGV[2]) then return 0 end
redis.call('DEL', W, OBJECTS)
return 1
