#!lua flags=allow-oom
-- Settle positions of batches: see settle. What goes on are items of five: batch, position, what becomes of it, delay in
-- ms, event. What: w back to the queue; d after a delay; m to the dead letters; r as it lies, to the tail, where the next
-- one is taken.
-- include now
-- include delay
-- include settle
for at = 4 * batches + 2, #ARGV, 5 do
  local i, position, what, event = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 4]
  if is_open(i, position) then
    if what == 'w' then
      redis.call('LPUSH', KEYS[2], event)
    elseif what == 'm' then
      redis.call('LPUSH', KEYS[7], event)
    elseif what == 'd' then
      put_aside(KEYS[3], KEYS[4], KEYS[5], now_ms() + ARGV[at + 3], ' ', event)
    else
      event = redis.call('LINDEX', KEYS[7 + i], position - 1)
      if event then
        redis.call('RPUSH', KEYS[2], event)
      end
    end
  end
end
return write_marks()
