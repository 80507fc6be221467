#!lua
-- Store events; refused as a whole when the server is at its maxmemory.
-- KEYS: stream, delayed, bell, seq, seen. ARGV: capacity (-1: none), dedup in ms (0: none), then for each event its delay
-- in ms (-1: none), its id and the event. Capacity counts what waits for the group that has the most before it.
-- Returns how many were accepted, from the first on.
-- include now
-- include delay
-- include stream_groups
-- include stream_waiting
local stream, capacity, dedup = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local now, accepted = now_ms(), 0
local room = math.huge
if capacity >= 0 then
  local length, most = redis.call('XLEN', stream), 0
  local groups = groups_of(stream)
  for _, group in ipairs(groups) do
    local _, waiting = waiting_of(stream, group, #groups == 1)
    most = math.max(most, waiting < 0 and length - group['pending'] or waiting)
  end
  room = capacity - (#groups > 0 and most or length)
end
if dedup > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now)
end
for at = 3, #ARGV, 3 do
  local delay = tonumber(ARGV[at])
  if delay < 0 and room < 1 then
    return accepted
  end
  if dedup == 0 or redis.call('ZADD', KEYS[5], 'NX', now + dedup, ARGV[at + 1]) == 1 then
    if delay < 0 then
      redis.call('XADD', stream, '*', 'event', ARGV[at + 2])
      room = room - 1
    else
      put_aside(KEYS[2], KEYS[3], KEYS[4], now + delay, ' ', ARGV[at + 2])
    end
  end
  accepted = accepted + 1
end
return accepted
