#!lua flags=allow-oom
-- Part of every fetch: renew the lease, promote what is due, take from the dead, and take what was handed back.
-- KEYS: stream, leases, started, delayed, aside. ARGV: group, owner, lease in ms, 1 for an owner who holds nothing yet,
-- how many to take, the id after which to take ('-': from the first), 1 to look for consumers without a lease.
-- Returns {-1} when the owner's lease was ended, or the group is gone; else 1, the milliseconds to the next delayed event,
-- and what was taken: id, fields, count.
-- include now
-- include stream_due
-- include stream_lease
-- include stream_groups
-- include stream_trim
-- include stream_released
local stream, leases, started = KEYS[1], KEYS[2], KEYS[3]
local group, me, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = now_ms()

-- A death counts for those that were handed out for the first time and those that were reported to be started.
local function bury(consumer)
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

if ARGV[4] == '1' then
  redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
elseif not holds(leases, me) then
  return {-1}
end
local known = redis.pcall('XPENDING', stream, group, '-', '+', 1)
if known.err then
  if string.sub(known.err, 1, 7) ~= 'NOGROUP' then
    return known
  end
  return {-1}
end
redis.call('ZADD', leases, now + lease, me)
local next = promote(stream, KEYS[4], KEYS[5], now)
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 4)) do
  bury(dead)
end
if ARGV[7] == '1' then
  for _, facts in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    local name, idle = facts[2], facts[6]
    if name ~= 'released' and idle > lease and not redis.call('ZSCORE', leases, name) then
      bury(name)
    end
  end
  local groups = groups_of(stream)
  trim(stream, groups)
end
local taken = {}
for _, entry in ipairs(redis.call('XPENDING', stream, group, ARGV[6], '+', ARGV[5], 'released')) do
  local found = redis.call('XCLAIM', stream, group, me, 0, entry[1], 'RETRYCOUNT', entry[4])
  if found[1] then
    taken[#taken + 1] = {found[1][1], found[1][2], entry[4]}
  end
end
return {1, next, taken}
