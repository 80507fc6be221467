#!lua flags=allow-oom
-- KEYS: waiting, delayed, keys, parked total. ARGV: what the names of parked lists begin with.
-- Returns the milliseconds to the next delayed event, -1 when there is none.
-- include now
-- include keyed_state
-- include keyed_key
-- include keyed_due
local next = promote(KEYS[1], KEYS[2], KEYS[3], ARGV[1], now_ms())
settle_states(KEYS[3], ARGV[1], KEYS[4], KEYS[1])
return next
