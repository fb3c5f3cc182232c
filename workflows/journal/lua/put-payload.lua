-- Stores a large payload of a run. Until the run is created it is kept for a while only.
-- KEYS: run, payloads, payload
-- ARGV: name, payload, ms that it is kept without a run
redis.call('SET', KEYS[3], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 1
