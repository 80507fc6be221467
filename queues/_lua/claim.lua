-- Take up to `limit` events from the tail into a batch of ours, under a lease, in one step. The batch is registered even
-- when it is empty: a blocking move into it may follow.
-- KEYS: waiting, own, batch, leases, delayed. ARGV: owner, lease in ms, limit, number of the batch. take: moves them.
-- Returns how many there are, and the milliseconds to the next delayed event.
-- include now
-- include list_due
local function claim(take)
  local now = now_ms()
  redis.call('ZADD', KEYS[4], now + ARGV[2], ARGV[1])
  local next = promote(KEYS[1], KEYS[5], now)
  local count = take(tonumber(ARGV[3]))
  redis.call('HDEL', KEYS[2], 'grave')
  redis.call('HSET', KEYS[2], ARGV[4], '')
  return {count, next}
end
