-- Move what is due: a retry to its place in its key, everything else to the waiting list.
-- include due
local function promote(waiting, delayed, keys, parked_prefix, now)
  return move_due(delayed, now, function(member)
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
  end)
end
