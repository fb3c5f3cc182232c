-- ARGV: fire, ms until it is looked at again.
if redis.call('ZSCORE', TAKEN, ARGV[1]) then redis.call('ZADD', TAKEN, now() + tonumber(ARGV[2]), ARGV[1]) end
return 1
