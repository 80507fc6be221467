-- Move what is due, at most 100, one by one; returns the milliseconds to the next, -1 when there is none. move: is told
-- what lies in the set; see delay.
local function move_due(delayed, now, move)
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)
  for _, member in ipairs(due) do
    move(member)
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
