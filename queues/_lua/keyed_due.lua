-- Move what is due, at most 100: a retry to its place in its key, everything else to the waiting list. Returns the
-- milliseconds to the next, -1 when there is none.
local function promote(waiting, delayed, keys, parked_prefix, now)
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)
  for _, member in ipairs(due) do
    local retry = string.sub(member, 17, 17) == 'r'
    local event = string.sub(member, retry and 34 or 18)
    local key = retry and key_of(event)
    if key then
      local state = state_of(keys, key)
      state.retrying = math.max(0, state.retrying - 1)
      park(parked_prefix, key, state, tonumber(string.sub(member, 18, 33)), event)
    else
      redis.call('LPUSH', waiting, event)
    end
  end
  if #due > 0 then
    redis.call('ZREM', delayed, unpack(due))
  end
  local next = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if not next[2] then
    return -1
  end
  return math.max(0, tonumber(next[2]) - now)
end
