#!lua flags=allow-oom
-- Hand back what was not started, uncounted. KEYS: stream, leases, started. ARGV: group, owner, then ids; those that he
-- does not have any more are left alone. Returns 1; -1 when the owner's lease was ended: nothing was done.
-- include stream_lease
-- include stream_released
if not holds(KEYS[2], ARGV[2]) then
  return -1
end
local ids = {}
for at = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1, ARGV[2]) == 1 then
    ids[#ids + 1] = ARGV[at]
  end
  if #ids == 1000 or at == #ARGV then
    hand_back(KEYS[1], ARGV[1], KEYS[3], ids)
    ids = {}
  end
end
return 1
