-- ARGV: timer, fire. Only of an open one, so that the mark goes with it.
if redis.call('ZSCORE', record(ARGV[1]) .. ':open', ARGV[2]) then redis.call('SADD', record(ARGV[1]) .. ':tried', ARGV[2]) end
return 1
