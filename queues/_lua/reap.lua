-- What all scripts that give back what an owner holds have in common.
-- KEYS: waiting, leases, own, then his batches, the oldest first. ARGV: owner; 1: he died, 0: he leaves, 2: he leaves and
-- something that he sent may still arrive; the grave in ms; how many events at most; then the numbers of the batches.
-- Of a dead owner only after his lease, and each event that was handed out for the first time, or was reported to be
-- started, carries the death in its attribute `deliveries`. Unless he leaves without a doubt, his registered empty batches
-- stay for the time of the grave: a blocking move that he had sent may still fill one.
-- last: the last batch among KEYS. give: puts an event back, is told its batch and position; the newest comes first.
-- Returns how many events were moved, -1 when the lease is not over; and whether the owner is gone.
-- include now
-- include counted
local function reap(last, give)
  local owner, how, now = ARGV[1], ARGV[2], now_ms()
  local died = how == '1'
  if died then
    local till = redis.call('ZSCORE', KEYS[2], owner)
    if not till or tonumber(till) > now then
      return -1, false
    end
  end
  local buried = redis.call('HGET', KEYS[3], 'grave')
  local moved, kept = 0, 0
  for i = last, 4, -1 do
    local number = ARGV[i + 1]
    local marks, count = redis.call('HGET', KEYS[3], number), redis.call('LLEN', KEYS[i])
    if marks and (moved >= tonumber(ARGV[4]) or (count == 0 and how ~= '0' and not buried)) then
      kept = kept + 1
    elseif marks then
      for position = count, 1, -1 do
        local event, mark = redis.call('RPOP', KEYS[i]), string.sub(marks, position, position)
        if mark ~= '1' then
          give(died and counted(event, mark) or event, number, position)
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
  return moved, kept == 0
end
