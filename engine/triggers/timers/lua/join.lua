-- KEYS[1] replicas (name -> last seen). ARGV: name of this one, ms after which one that was not seen is gone. Gives those that are alive.
local at = now()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', at - tonumber(ARGV[2]))
redis.call('ZADD', KEYS[1], at, ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)
