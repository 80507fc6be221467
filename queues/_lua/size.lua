-- include now

-- Of KEYS: waiting, delayed, parked total: how many wait and are due, and how many are not due.
local function size()
  local due = redis.call('ZCOUNT', KEYS[2], '-inf', now_ms())
  return {redis.call('LLEN', KEYS[1]) + due + (redis.call('GET', KEYS[3]) or 0), redis.call('ZCARD', KEYS[2]) - due}
end
