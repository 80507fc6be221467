#!lua flags=allow-oom
-- KEYS: stream, delayed, aside. Returns the milliseconds to the next delayed event, -1 when there is none.
-- include now
-- include stream_due
return promote(KEYS[1], KEYS[2], KEYS[3], now_ms())
