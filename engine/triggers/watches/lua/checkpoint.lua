-- ARGV: owner, uid, version or '' = as it is, then name and facts of each object, '' = gone. 0 = not the owner's any more, and nothing changed.
if not owns(ARGV[1], ARGV[2]) then return 0 end
if ARGV[3] ~= '' then redis.call('HSET', W, 'version', ARGV[3]) end
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', OBJECTS, ARGV[i])
  else
    redis.call('HSET', OBJECTS, ARGV[i], ARGV[i + 1])
  end
end
return 1
