#!lua flags=allow-oom
-- What is in a batch of which its owner does not know. When it is not registered, the claim that was to fill it has not
-- come; from now on that claim, and any before it, is void.
-- KEYS: own, batch, leases. ARGV: number of the batch, owner, lease in ms: what is written down here ends with it.
-- Returns its marks, nil if it is not registered, and the key of each event, '' for none.
-- include now
-- include keyed_key
local marks = redis.call('HGET', KEYS[1], ARGV[1])
if not marks and tonumber(redis.call('HGET', KEYS[1], 'void') or 0) < tonumber(ARGV[1]) then
  redis.call('ZADD', KEYS[3], now_ms() + ARGV[3], ARGV[2])
  redis.call('HSET', KEYS[1], 'void', ARGV[1])
end
local answer = {marks}
for i, event in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  answer[i + 1] = key_of(event) or ''
end
return answer
