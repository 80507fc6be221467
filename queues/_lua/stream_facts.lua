#!lua flags=allow-oom
-- How a stream stands for a group. KEYS: stream, delayed, aside, settled. ARGV: group.
-- Returns how many wait (-1: count what is after the last one handed out), how many of these were handed back, how many
-- are pending with somebody, the last id handed out, how many are due and not in the stream yet, how many are not due,
-- how many the group has settled, and how many groups there are.
-- include now
-- include stream_groups
-- include stream_tidy
-- include stream_waiting
local stream, name = KEYS[1], ARGV[1]
local groups = groups_of(stream)
tidy(stream, groups, KEYS[4])
local waiting, released, pending, last = redis.call('XLEN', stream), 0, 0, '0-0'
for _, group in ipairs(groups) do
  if group['name'] == name then
    released, waiting = waiting_of(stream, group, #groups == 1)
    pending, last = group['pending'] - released, group['last-delivered-id']
  end
end
local due = redis.call('ZCOUNT', KEYS[2], '-inf', now_ms())
local later = redis.call('ZCARD', KEYS[2]) - due
local aside = redis.call('HGETALL', KEYS[3])
for i = 1, #aside, 2 do
  if aside[i] ~= name then
    later = later - aside[i + 1]
  end
end
local settled = tonumber(redis.call('HGET', KEYS[4], name) or 0)
return {waiting, released, pending, last, due, math.max(0, later), settled, #groups}
