#!lua
-- Store events; refused as a whole when the server is at its maxmemory. For KEYS, ARGV and what it returns see store.
-- Capacity counts what waits for the group that has the most before it.
-- include store
-- include stream_groups
-- include stream_waiting
return store(function()
  local length, most = redis.call('XLEN', KEYS[1]), 0
  local groups = groups_of(KEYS[1])
  for _, group in ipairs(groups) do
    local _, waiting = waiting_of(KEYS[1], group, #groups == 1)
    most = math.max(most, waiting < 0 and length - group['pending'] or waiting)
  end
  return #groups > 0 and most or length
end, function(event)
  redis.call('XADD', KEYS[1], '*', 'event', event)
end)
