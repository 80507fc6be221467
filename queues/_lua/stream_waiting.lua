-- How many a group has handed back, and how many wait for it; -1 where only counting would tell.
-- Settled events are removed at once while there is one group, so what is there and not pending waits. With several,
-- nothing is removed but what all are past, so the server's own count of what is ahead is exact.
local function waiting_of(stream, group, alone)
  local released = 0
  if group['pending'] > 0 then
    for _, consumer in ipairs(redis.call('XPENDING', stream, group['name'])[4]) do
      if consumer[1] == 'released' then
        released = tonumber(consumer[2])
      end
    end
  end
  if alone then
    return released, redis.call('XLEN', stream) - group['pending'] + released
  end
  return released, group['lag'] and group['lag'] + released or -1
end
