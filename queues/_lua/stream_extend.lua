#!lua flags=allow-oom
-- Renew an owner's lease, and note which of his events are about to run. KEYS: leases, started. ARGV: owner, lease in ms,
-- then ids. Returns 1; -1 when his lease was ended.
-- include now
-- include stream_lease
if not holds(KEYS[1], ARGV[1]) then
  return -1
end
redis.call('ZADD', KEYS[1], now_ms() + ARGV[2], ARGV[1])
if #ARGV > 2 then
  redis.call('SADD', KEYS[2], unpack(ARGV, 3))
end
return 1
