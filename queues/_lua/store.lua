-- Store events, the second of an id not, until there is no room. KEYS: where they wait, delayed, bell, seq, seen. ARGV:
-- capacity (-1: none), dedup in ms (0: none), then for each event its delay in ms (-1: none), its id and the event.
-- waiting: says how many count for the capacity; add: stores one. Returns how many were accepted, from the first on.
-- include now
-- include delay
local function store(waiting, add)
  local capacity, dedup = tonumber(ARGV[1]), tonumber(ARGV[2])
  local now, accepted = now_ms(), 0
  local room = capacity < 0 and math.huge or capacity - waiting()
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
        add(ARGV[at + 2])
        room = room - 1
      else
        put_aside(KEYS[2], KEYS[3], KEYS[4], now + delay, ' ', ARGV[at + 2])
      end
    end
    accepted = accepted + 1
  end
  return accepted
end
