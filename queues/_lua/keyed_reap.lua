#!lua flags=allow-oom
-- As list_reap, with order by key: events with a key go back to their places in it.
-- KEYS: waiting, leases, own, keys, parked total, then his batches, the oldest first. ARGV: owner; 1: he died, 0: he
-- leaves; what the names of parked lists begin with; how many events at most; then the numbers of the batches.
-- include now
-- include counted
-- include keyed_state
-- include keyed_key
local owner, died = ARGV[1], ARGV[2] == '1'
if died then
  local till = redis.call('ZSCORE', KEYS[2], owner)
  if not till or tonumber(till) > now_ms() then
    return -1
  end
end
local moved, kept = 0, 0
for i = #KEYS, 6, -1 do
  local number = ARGV[i - 1]
  local marks = redis.call('HGET', KEYS[3], number)
  if marks and moved >= tonumber(ARGV[4]) then
    kept = kept + 1
  elseif marks then
    local places = places_of(KEYS[3], number)
    for position = redis.call('LLEN', KEYS[i]), 1, -1 do
      local event, mark = redis.call('RPOP', KEYS[i]), string.sub(marks, position, position)
      if mark ~= '1' then
        local key = key_of(event)
        event = died and counted(event, mark) or event
        moved = moved + 1
        if key then
          local state = state_of(KEYS[4], key)
          state.held = math.max(0, state.held - 1)
          park(ARGV[3], key, state, places[position] or 0, event)
        else
          redis.call('RPUSH', KEYS[1], event)
        end
      end
    end
    redis.call('HDEL', KEYS[3], number, 'places' .. number)
  end
end
settle_states(KEYS[4], ARGV[3], KEYS[5], KEYS[1])
if kept == 0 then
  redis.call('ZREM', KEYS[2], owner)
  redis.call('DEL', KEYS[3], KEYS[3] .. ':more')
end
return moved
