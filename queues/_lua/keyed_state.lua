-- Order by key. The hash `keys` has an entry for each key that somebody holds, that a retry holds, or that has events
-- parked: owner, unsettled deliveries, retries that are not due, the place of the one that lies in the waiting list for
-- all of them (0: none), number of parked events. Parked events lie in a list of the key's own, the oldest at the tail,
-- each behind the 16 digits of its place: a number given when it was first looked at, so that what comes back finds it.
local states, touched = {}, {}

local function state_of(keys, key)
  local state = states[key]
  if not state then
    local owner, held, retrying, promoted, parked =
      string.match(redis.call('HGET', keys, key) or '', '^(%S*) (%d+) (%d+) (%d+) (%d+)$')
    state = {
      owner = owner or '', held = tonumber(held) or 0, retrying = tonumber(retrying) or 0,
      promoted = tonumber(promoted) or 0, parked = tonumber(parked) or 0,
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
    if state.held == 0 and state.retrying == 0 and state.promoted == 0 and state.parked > 0 then
      local event = redis.call('RPOP', parked_prefix .. key)
      if event then
        redis.call('RPUSH', waiting, string.sub(event, 17))
        state.promoted = tonumber(string.sub(event, 1, 16))
      end
      state.parked = event and state.parked - 1 or 0
      change = change - 1
    end
    if state.held == 0 and state.retrying == 0 and state.promoted == 0 and state.parked == 0 then
      redis.call('HDEL', keys, key)
    else
      redis.call('HSET', keys, key, state.owner .. ' ' .. state.held .. ' ' .. state.retrying .. ' ' ..
        state.promoted .. ' ' .. state.parked)
    end
  end
  if change ~= 0 then
    redis.call('INCRBY', parked_total, change)
  end
end

-- At its place among the parked events of its key: new ones at the end, those that come back near the tail.
local function park(parked_prefix, key, state, place, event)
  local list, after = parked_prefix .. key, {}
  local mine = string.format('%016d', place)
  if state.parked > 0 and string.sub(redis.call('LINDEX', list, 0) or '', 1, 16) < mine then
    redis.call('LPUSH', list, mine .. event)
  else
    local oldest = redis.call('RPOP', list)
    while oldest and string.sub(oldest, 1, 16) < mine do
      after[#after + 1] = oldest
      oldest = redis.call('RPOP', list)
    end
    if oldest then
      redis.call('RPUSH', list, oldest)
    end
    redis.call('RPUSH', list, mine .. event)
    for i = #after, 1, -1 do
      redis.call('RPUSH', list, after[i])
    end
  end
  state.parked = state.parked + 1
  state.delta = (state.delta or 0) + 1
end

-- The places of a batch, as the claim has written them down.
local function places_of(own, number)
  local places = {}
  for place in string.gmatch(redis.call('HGET', own, 'places' .. number) or '', '%d+') do
    places[#places + 1] = tonumber(place)
  end
  return places
end
