#!lua flags=allow-oom
-- Take these very events into a batch of ours, under a lease. KEYS: waiting, own, batch, leases. ARGV: owner, lease in ms,
-- number of the batch, then the events, the oldest first. Returns for each 1, or 0 when another one was faster.
-- include now
redis.call('ZADD', KEYS[4], now_ms() + ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[3], '')
local taken = {}
for i = 4, #ARGV do
  taken[i - 3] = redis.call('LREM', KEYS[1], -1, ARGV[i])
  if taken[i - 3] == 1 then
    redis.call('RPUSH', KEYS[3], ARGV[i])
  end
end
return taken
