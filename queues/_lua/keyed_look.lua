#!lua flags=allow-oom
-- What is in a batch whose claim got no answer. KEYS: own, batch. ARGV: number of the batch.
-- Returns 1 if the batch is registered, else 0, and the key of each event, '' for none.
-- include keyed_key
local answer = {redis.call('HEXISTS', KEYS[1], ARGV[1])}
for i, event in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  answer[i + 1] = key_of(event) or ''
end
return answer
