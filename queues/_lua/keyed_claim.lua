#!lua flags=allow-oom
-- Take up to `limit` events whose keys nobody else holds into a batch of ours, under a lease; those of other keys are
-- parked. Of one key at most an eighth or 16, so that a busy one leaves room for others.
-- KEYS: waiting, own, batch, leases, delayed, keys, parked total, seq.
-- ARGV: owner, lease in ms, limit, number of the batch, what the names of parked lists begin with, and what those of
-- owners' sets of keys with more parked begin with.
-- Returns how many there are, the milliseconds to the next delayed event, and the key of each, '' for none. A claim that
-- comes after its owner has gone on without it does nothing: see keyed_look.
-- include now
-- include keyed_state
-- include keyed_key
-- include keyed_due
local waiting, batch, keys, prefix = KEYS[1], KEYS[3], KEYS[6], ARGV[5]
local owner, limit = ARGV[1], tonumber(ARGV[3])
if tonumber(redis.call('HGET', KEYS[2], 'void') or 0) >= tonumber(ARGV[4]) then
  return {0, -1}
end
local now = now_ms()
redis.call('ZADD', KEYS[4], now + ARGV[2], owner)
local next = promote(waiting, KEYS[5], keys, prefix, now)
settle_states(keys, prefix, KEYS[7], waiting)
states, touched = {}, {}

local answer, taken = {0, next}, 0
local most = math.max(16, math.floor(limit / 8))
local mine, places = {}, {}

local function take(event, key, place)
  redis.call('RPUSH', batch, event)
  taken = taken + 1
  places[taken] = place
  answer[taken + 2] = key or ''
  if key then
    mine[key] = (mine[key] or 0) + 1
  end
end

-- Parked events of a key that we hold, the oldest first, as far as there is room.
local function take_parked(key, state)
  while state.parked > 0 and (mine[key] or 0) < most and taken < limit do
    local event = redis.call('RPOP', prefix .. key)
    state.delta = (state.delta or 0) - (event and 1 or state.parked)
    state.parked = event and state.parked - 1 or 0
    if event then
      state.held = state.held + 1
      take(string.sub(event, 17), key, tonumber(string.sub(event, 1, 16)))
    end
  end
end

local looked = 0
while taken < limit and looked < limit + 1000 do
  local event = redis.call('RPOP', waiting)
  if not event then
    break
  end
  looked = looked + 1
  local key = key_of(event)
  if not key then
    take(event, nil, 0)
  else
    local state = state_of(keys, key)
    local free = state.held == 0 and state.retrying == 0 and state.parked == 0
    local again = state.owner == owner and state.held > 0 and state.retrying == 0 and state.parked == 0
    local place = state.promoted > 0 and state.promoted or redis.call('INCR', KEYS[8])
    if state.promoted > 0 or free or (again and (mine[key] or 0) < most) then
      state.owner, state.promoted = owner, 0
      state.held = state.held + 1
      take(event, key, place)
      take_parked(key, state)
    else
      park(prefix, key, state, place, event)
    end
    if state.parked > 0 and state.held > 0 then
      redis.call('SADD', ARGV[6] .. state.owner .. ':more', key)
    end
  end
end

-- Where there is room left: more of the keys that we hold.
local more = ARGV[6] .. owner .. ':more'
if taken < limit then
  for _, key in ipairs(redis.call('SPOP', more, 100)) do
    local state = state_of(keys, key)
    if state.owner == owner and state.held > 0 and state.retrying == 0 then
      take_parked(key, state)
      if state.parked > 0 then
        redis.call('SADD', more, key)
      end
    end
  end
end
settle_states(keys, prefix, KEYS[7], waiting)
if taken > 0 then
  redis.call('HDEL', KEYS[2], 'grave')
  redis.call('HSET', KEYS[2], ARGV[4], '', 'places' .. ARGV[4], table.concat(places, ' '))
end
answer[1] = taken
return answer
