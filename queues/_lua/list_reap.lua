#!lua flags=allow-oom
-- Give back what an owner holds: unsettled events return to the tail, the oldest last, so that it is taken first.
-- KEYS: waiting, leases, own, then his batches, the oldest first. ARGV: owner; 1: he died, 0: he leaves, 2: he leaves and
-- something that he sent may still arrive; the grave in ms; how many events at most; then the numbers of the batches.
-- Of a dead owner only after his lease, and each event that was handed out for the first time, or was reported to be
-- started, carries the death in its attribute `deliveries`. Unless he leaves without a doubt, his registered empty batches
-- stay for the time of the grave: a blocking move that he had sent may still fill one.
-- Returns how many events were moved; -1 when the lease is not over.
-- include now
local owner, died = ARGV[1], ARGV[2] == '1'
local now = now_ms()
if died then
  local till = redis.call('ZSCORE', KEYS[2], owner)
  if not till or tonumber(till) > now then
    return -1
  end
end

-- include counted
local buried = redis.call('HGET', KEYS[3], 'grave')
local moved, kept = 0, 0
for i = #KEYS, 4, -1 do
  local number = ARGV[i + 1]
  local marks = redis.call('HGET', KEYS[3], number)
  local count = redis.call('LLEN', KEYS[i])
  if marks and moved >= tonumber(ARGV[4]) then
    kept = kept + 1
  elseif marks and count == 0 and ARGV[2] ~= '0' and not buried then
    kept = kept + 1
  elseif marks then
    for position = count, 1, -1 do
      local event, mark = redis.call('RPOP', KEYS[i]), string.sub(marks, position, position)
      if mark ~= '1' then
        redis.call('RPUSH', KEYS[1], died and counted(event, mark) or event)
        moved = moved + 1
      end
    end
    redis.call('HDEL', KEYS[3], number)
  end
end
if kept == 0 then
  redis.call('ZREM', KEYS[2], owner)
  redis.call('DEL', KEYS[3])
elseif moved == 0 then
  redis.call('HSET', KEYS[3], 'grave', 1)
  redis.call('ZADD', KEYS[2], now + ARGV[3], owner)
end
return moved
