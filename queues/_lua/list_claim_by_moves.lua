#!lua flags=allow-oom
-- The same as list_claim where SORT is not allowed: an event at a time, which costs the server more.
-- KEYS: waiting, own, batch, leases, delayed. ARGV: owner, lease in ms, limit, number of the batch.
-- include now
-- include list_due
local now = now_ms()
redis.call('ZADD', KEYS[4], now + ARGV[2], ARGV[1])
local next = promote(KEYS[1], KEYS[5], now)
local count = 0
while count < tonumber(ARGV[3]) and redis.call('LMOVE', KEYS[1], KEYS[3], 'RIGHT', 'RIGHT') do
  count = count + 1
end
redis.call('HDEL', KEYS[2], 'grave')
redis.call('HSET', KEYS[2], ARGV[4], '')
return {count, next}
