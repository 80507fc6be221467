#!lua flags=allow-oom
-- Hand back everything that is pending under an owner's name, uncounted, but for these ids, and forget him when nothing is
-- left: what he keeps is covered by his lease. KEYS: stream, leases, started, settled. ARGV: group, owner, then ids.
-- include stream_groups
-- include stream_tidy
-- include stream_released
local stream, group, owner = KEYS[1], ARGV[1], ARGV[2]
local keeps = {}
for at = 3, #ARGV do
  keeps[ARGV[at]] = true
end
local after, more = '-', true
while more do
  local pending = redis.pcall('XPENDING', stream, group, after, '+', 1000, owner)
  if pending.err then
    return redis.call('ZREM', KEYS[2], owner)
  end
  local ids = {}
  for _, entry in ipairs(pending) do
    if not keeps[entry[1]] then
      ids[#ids + 1] = entry[1]
    end
    after = '(' .. entry[1]
  end
  hand_back(stream, group, KEYS[3], ids)
  more = #pending == 1000
end
if #ARGV == 2 then
  redis.call('ZREM', KEYS[2], owner)
  redis.call('XGROUP', 'DELCONSUMER', stream, group, owner)
end
tidy(stream, groups_of(stream), KEYS[4])
return 1
