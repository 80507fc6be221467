#!lua flags=allow-oom
-- Renew an owner's lease. KEYS: leases, own. ARGV: owner, lease in ms, numbers of batches.
-- Returns for each batch 1 if it is still his, else 0.
-- include now
redis.call('ZADD', KEYS[1], now_ms() + ARGV[2], ARGV[1])
local ours = {}
for i = 3, #ARGV do
  ours[i - 2] = redis.call('HEXISTS', KEYS[2], ARGV[i])
end
return ours
