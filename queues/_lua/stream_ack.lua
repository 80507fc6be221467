#!lua flags=allow-oom
-- Done with these events. The lease fences all of an owner's at once: nobody takes one of his while he has it.
-- KEYS: stream, leases, started, settled. ARGV: group, owner, 1 to count them as settled, then ids.
-- Returns how many were open; -1 when the owner's lease was ended: nothing was done.
-- include stream_lease
-- include stream_groups
local stream, group = KEYS[1], ARGV[1]
if not holds(KEYS[2], ARGV[2]) then
  return -1
end
local alone = is_alone(groups_of(stream), group, KEYS[4])
local done = 0
for first = 4, #ARGV, 4000 do
  local last = math.min(first + 3999, #ARGV)
  done = done + redis.call('XACK', stream, group, unpack(ARGV, first, last))
  redis.call('SREM', KEYS[3], unpack(ARGV, first, last))
  if alone then
    redis.call('XDEL', stream, unpack(ARGV, first, last))
  end
end
if ARGV[3] == '1' and done > 0 then
  redis.call('HINCRBY', KEYS[4], group, done)
end
return done
