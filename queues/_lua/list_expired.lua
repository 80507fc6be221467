-- KEYS: leases. Returns up to 20 owners whose lease is over.
-- include now
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms(), 'LIMIT', 0, 20)
