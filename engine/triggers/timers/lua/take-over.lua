-- ARGV: fire, ms until others may settle it. 1 = it is the caller's now.
local until_ = tonumber(redis.call('ZSCORE', TAKEN, ARGV[1]))
local at = now()
if not until_ or until_ > at then return 0 end
redis.call('ZADD', TAKEN, at + tonumber(ARGV[2]), ARGV[1])
return 1
