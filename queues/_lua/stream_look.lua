#!lua flags=allow-oom
-- Part of every fetch: renew the lease, promote what is due, take from the dead, and take what was handed back.
-- KEYS: stream, leases, started, delayed, aside, settled. ARGV: group, owner, lease in ms, 1 for an owner who holds
-- nothing yet, how many to take, the id after which to take ('-': from the first), 1 to look for consumers without a lease.
-- Returns {-1} when the owner's lease was ended, or the group is gone; else 1, the milliseconds to the next delayed event,
-- and what was taken: id, fields, count.
-- include now
-- include stream_due
-- include stream_lease
-- include stream_groups
-- include stream_tidy
-- include stream_released
-- include stream_bury
local stream, leases, started = KEYS[1], KEYS[2], KEYS[3]
local group, me, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = now_ms()

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
bury_expired(stream, group, leases, started, now)
if ARGV[7] == '1' then
  bury_strangers(stream, group, leases, started, lease)
  tidy(stream, groups_of(stream), KEYS[6])
end
local taken = {}
for _, entry in ipairs(redis.call('XPENDING', stream, group, ARGV[6], '+', ARGV[5], 'released')) do
  local found = redis.call('XCLAIM', stream, group, me, 0, entry[1], 'RETRYCOUNT', entry[4])
  if found[1] then
    taken[#taken + 1] = {found[1][1], found[1][2], entry[4]}
  end
end
return {1, next, taken}
