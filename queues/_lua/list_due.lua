-- Move what is due to the waiting list.
-- include due
local function promote(waiting, delayed, now)
  return move_due(delayed, now, function(member)
    redis.call('LPUSH', waiting, string.sub(member, 18))
  end)
end
