-- ARGV: owner, uid of the trigger, what it selects. What another trigger of the name, or another selection, has seen is forgotten.
-- Gives the version up to which it was seen, or ''.
local owner, uid, selection = unpack(ARGV)
local known = redis.call('HMGET', W, 'uid', 'selection')
if known[1] ~= uid or known[2] ~= selection then redis.call('DEL', W, OBJECTS) end
redis.call('HSET', W, 'owner', owner, 'uid', uid, 'selection', selection)
return redis.call('HGET', W, 'version') or ''
