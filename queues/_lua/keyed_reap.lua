#!lua flags=allow-oom
-- As list_reap, with order by key: events with a key go back to their places in it. KEYS: as for reap, then keys, parked
-- total. ARGV: as for reap, then what the names of parked lists begin with.
-- include reap
-- include keyed_state
-- include keyed_key
local keys, total, prefix = KEYS[#KEYS - 1], KEYS[#KEYS], ARGV[#ARGV]
local noted, places = nil, {}
local moved, is_gone = reap(#KEYS - 2, function(event, number, position)
  if noted ~= number then
    noted, places = number, places_of(KEYS[3], number)
    redis.call('HDEL', KEYS[3], 'places' .. number)
  end
  local key = key_of(event)
  if key then
    local state = state_of(keys, key)
    state.held = math.max(0, state.held - 1)
    park(prefix, key, state, places[position] or 0, event)
  else
    redis.call('RPUSH', KEYS[1], event)
  end
end)
settle_states(keys, prefix, total, KEYS[1])
if is_gone then
  redis.call('DEL', KEYS[3] .. ':more')
end
return moved
