-- Order by key. The hash `keys` has an entry for each key that somebody holds, that a retry holds, or that has events
-- parked: owner, unsettled deliveries, retries that are not due, 1 when its oldest parked event lies in the waiting list,
-- number of parked events. Parked events lie in a list of the key's own, the oldest at the tail.
local states, touched = {}, {}

local function state_of(keys, key)
  local state = states[key]
  if not state then
    local owner, held, retrying, promoted, parked =
      string.match(redis.call('HGET', keys, key) or '', '^(%S*) (%d+) (%d+) (%d) (%d+)$')
    state = {
      owner = owner or '', held = tonumber(held) or 0, retrying = tonumber(retrying) or 0,
      promoted = promoted == '1', parked = tonumber(parked) or 0,
    }
    states[key] = state
    touched[#touched + 1] = key
  end
  return state
end

-- Write the states back; a key that nobody and nothing holds goes on with its oldest parked event.
local function settle_states(keys, parked_prefix, parked_total, waiting)
  local change = 0
  for _, key in ipairs(touched) do
    local state = states[key]
    change = change + (state.delta or 0)
    if state.held == 0 and state.retrying == 0 and not state.promoted and state.parked > 0 then
      local event = redis.call('RPOP', parked_prefix .. key)
      if event then
        redis.call('RPUSH', waiting, event)
        state.promoted = true
      end
      state.parked = event and state.parked - 1 or 0
      change = change - 1
    end
    if state.held == 0 and state.retrying == 0 and not state.promoted and state.parked == 0 then
      redis.call('HDEL', keys, key)
    else
      redis.call('HSET', keys, key, state.owner .. ' ' .. state.held .. ' ' .. state.retrying .. ' ' ..
        (state.promoted and 1 or 0) .. ' ' .. state.parked)
    end
  end
  if change ~= 0 then
    redis.call('INCRBY', parked_total, change)
  end
end

-- Behind everything of its key ('LPUSH'), or before it ('RPUSH').
local function park(side, parked_prefix, key, state, event)
  redis.call(side, parked_prefix .. key, event)
  state.parked = state.parked + 1
  state.delta = (state.delta or 0) + 1
end
