#!lua flags=allow-oom
-- What is in a batch of which its owner does not know. KEYS: own, batch. ARGV: number of the batch.
-- Returns its marks, nil if it is not registered, and the key of each event, '' for none.
-- include keyed_key
local answer = {redis.call('HGET', KEYS[1], ARGV[1])}
for i, event in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  answer[i + 1] = key_of(event) or ''
end
return answer
