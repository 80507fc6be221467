#!lua flags=allow-oom
-- As list_settle, with order by key.
-- KEYS: own, waiting, delayed, bell, seq, settled, dead, keys, parked total, then the batches.
-- ARGV: what the names of parked lists begin with; how many batches; for each its number, marks, how many events have left
-- the queue, and 1 if marks that an earlier call may have made must stay; then items of six: batch, position, what, delay
-- in ms, key ('' for none), event; those that go back come newest first. What: a done; w, d, m, r as in list_settle.
-- include now
-- include delay
-- include marks
-- include keyed_state
local prefix, batches = ARGV[1], tonumber(ARGV[2])
local waiting, keys = KEYS[2], KEYS[8]
local ours, marked, places = {}, {}, {}

local function place_at(i, position)
  places[i] = places[i] or places_of(KEYS[1], ARGV[4 * i - 1])
  return places[i][position] or 0
end

for i = 1, batches do
  marked[i] = redis.call('HGET', KEYS[1], ARGV[4 * i - 1])
  ours[i] = marked[i] and 1 or 0
end
for at = 4 * batches + 3, #ARGV, 6 do
  local i, position, what = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2]
  local key, event = ARGV[at + 4], ARGV[at + 5]
  if marked[i] and string.sub(marked[i], position, position) ~= '1' then
    local state = key ~= '' and state_of(keys, key)
    if state then
      state.held = math.max(0, state.held - 1)
    end
    if what == 'r' then
      event = redis.call('LINDEX', KEYS[9 + i], position - 1)
    end
    if what == 'm' then
      redis.call('LPUSH', KEYS[7], event)
    elseif what == 'd' then
      put_aside(KEYS[3], KEYS[4], KEYS[5], now_ms() + ARGV[at + 3], state and string.format('r%016d', place_at(i, position)) or ' ', event)
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
local left = 0
for i = 1, batches do
  local number, marks = ARGV[4 * i - 1], ARGV[4 * i]
  if marked[i] then
    left = left + ARGV[4 * i + 1]
    if marks == '*' then
      redis.call('HDEL', KEYS[1], number, 'places' .. number)
      redis.call('DEL', KEYS[9 + i])
    else
      if ARGV[4 * i + 2] == '1' and marked[i] ~= '' then
        marks = merged(marks, marked[i])
      end
      redis.call('HSET', KEYS[1], number, marks)
    end
  end
end
settle_states(keys, prefix, KEYS[9], waiting)
if left > 0 then
  redis.call('INCRBY', KEYS[6], left)
end
return ours
