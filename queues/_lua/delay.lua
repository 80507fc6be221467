-- Put an event aside until `due`. A member is a number of 16 digits, so that equal events differ and ties keep their
-- order, then a mark, then the event. Whoever keeps the time is told when this is now the earliest.
local function put_aside(delayed, bell, seq, due, mark, payload)
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  redis.call('ZADD', delayed, due, string.format('%016d', redis.call('INCR', seq)) .. mark .. payload)
  if not first[2] or due < tonumber(first[2]) then
    redis.call('LPUSH', bell, 1)
    redis.call('LTRIM', bell, 0, 0)
  end
end
