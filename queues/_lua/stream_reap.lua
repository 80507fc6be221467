#!lua flags=allow-oom
-- Hand back what dead owners of a group hold, as far as it has begun: at once, for where nobody consumes. KEYS: stream,
-- leases, started, settled. ARGV: group, lease in ms. Returns whether there may be more.
-- include now
-- include stream_groups
-- include stream_tidy
-- include stream_released
-- include stream_bury
local stream, leases, started, group = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local groups, dead = groups_of(stream), 0
for _, one in ipairs(groups) do
  if one['name'] == group then
    dead = bury_expired(stream, group, leases, started, now_ms())
    bury_strangers(stream, group, leases, started, tonumber(ARGV[2]))
  end
end
tidy(stream, groups, KEYS[4])
return dead
