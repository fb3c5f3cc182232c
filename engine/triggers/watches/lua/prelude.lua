-- Stands before every script of this folder. KEYS[1] = `{ev:<partition>}:watch:<trigger>`; every other key begins with it.
local W = KEYS[1]
local OBJECTS = W .. ':objects'

local function owns(owner, uid)
  local known = redis.call('HMGET', W, 'owner', 'uid')
  return known[1] == owner and known[2] == uid
end
