-- Take from four owners whose lease is over what they hold, a thousand events each, and hand it back. A death counts for
-- those that were handed out for the first time and those that were reported to be started.
local function bury(stream, group, leases, started, consumer)
  local pending = redis.call('XPENDING', stream, group, '-', '+', 1000, consumer)
  local by_count = {}
  for _, entry in ipairs(pending) do
    local count = entry[4]
    if count < 2 or redis.call('SISMEMBER', started, entry[1]) == 1 then
      count = count + 1
    end
    by_count[count] = by_count[count] or {}
    table.insert(by_count[count], entry[1])
  end
  for count, ids in pairs(by_count) do
    hand_back(stream, group, started, ids, count)
  end
  if #pending < 1000 then
    redis.call('ZREM', leases, consumer)
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
  else
    redis.call('ZADD', leases, 0, consumer)
  end
end

local function bury_expired(stream, group, leases, started, now)
  local dead = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 4)
  for _, owner in ipairs(dead) do
    bury(stream, group, leases, started, owner)
  end
  return #dead
end

-- Consumers that never had a lease, or read again after they had lost it: those who were silent for longer than one.
local function bury_strangers(stream, group, leases, started, lease)
  for _, facts in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    local name, idle = facts[2], facts[6]
    if name ~= 'released' and idle > lease and not redis.call('ZSCORE', leases, name) then
      bury(stream, group, leases, started, name)
    end
  end
end
