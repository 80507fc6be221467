-- Move what is due to the waiting list, at most 100; returns the milliseconds to the next, -1 when there is none.
local function promote(waiting, delayed, now)
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)
  for _, member in ipairs(due) do
    redis.call('LPUSH', waiting, string.sub(member, 18))
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
