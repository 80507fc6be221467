-- Move what is due to the stream, at most 100; returns the milliseconds to the next, -1 when there is none.
-- The mark of a copy for one group names it: `@group `.
local function promote(stream, delayed, aside, now)
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)
  for _, member in ipairs(due) do
    local ends = 17
    if string.sub(member, 17, 17) == '@' then
      ends = string.find(member, ' ', 18, true)
      redis.call('HINCRBY', aside, string.sub(member, 18, ends - 1), -1)
    end
    redis.call('XADD', stream, '*', 'event', string.sub(member, ends + 1))
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
