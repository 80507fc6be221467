#!lua flags=allow-oom
-- KEYS: waiting, delayed. Returns the milliseconds to the next delayed event, -1 when there is none.
-- include now
-- include list_due
return promote(KEYS[1], KEYS[2], now_ms())
