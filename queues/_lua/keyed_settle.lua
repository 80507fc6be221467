#!lua flags=allow-oom
-- As list_settle, with order by key. KEYS: as for settle, then keys, parked total. What goes on: what the names of parked
-- lists begin with, then items of six: batch, position, what, delay in ms, key ('' for none), event; those that go back
-- come newest first. What: a done; w, d, m, r as in list_settle.
-- include now
-- include delay
-- include settle
-- include keyed_state
local waiting, keys, total, prefix = KEYS[2], KEYS[#KEYS - 1], KEYS[#KEYS], ARGV[4 * batches + 2]
local places = {}

local function place_at(i, position)
  places[i] = places[i] or places_of(KEYS[1], ARGV[4 * i - 2])
  return places[i][position] or 0
end

for at = 4 * batches + 3, #ARGV, 6 do
  local i, position, what = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2]
  local key, event = ARGV[at + 4], ARGV[at + 5]
  if is_open(i, position) then
    local state = key ~= '' and state_of(keys, key)
    if state then
      state.held = math.max(0, state.held - 1)
    end
    if what == 'r' then
      event = redis.call('LINDEX', KEYS[7 + i], position - 1)
    end
    if what == 'm' then
      redis.call('LPUSH', KEYS[7], event)
    elseif what == 'd' then
      local mark = state and string.format('r%016d', place_at(i, position)) or ' '
      put_aside(KEYS[3], KEYS[4], KEYS[5], now_ms() + ARGV[at + 3], mark, event)
      if state then
        state.retrying = state.retrying + 1
      end
    elseif event and what ~= 'a' then
      if state then
        park(prefix, key, state, place_at(i, position), event)
      else
        redis.call(what == 'r' and 'RPUSH' or 'LPUSH', waiting, event)
      end
    end
  end
end
settle_states(keys, prefix, total, waiting)
return write_marks()
