#!lua flags=allow-oom
-- Settle positions of batches: each event that goes on is written, then its position is marked, in one step.
-- KEYS: own, waiting, delayed, bell, seq, settled, dead, then the batches.
-- ARGV: how many batches; for each its number, its marks ('*': every position is done), how many events have left the
-- queue, and 1 if marks that an earlier call may have made must stay; then items of five: batch (from 1), position
-- (from 1), what becomes of it, delay in ms, event. What: w back to the queue; d after a delay; m to the dead letters;
-- r as it lies, to the tail, where the next one is taken.
-- Returns 1 for each batch, 0 for one that is no longer ours: nothing was done for it.
-- include now
-- include delay
-- include marks
local batches = tonumber(ARGV[1])
local ours, marked = {}, {}
for i = 1, batches do
  marked[i] = redis.call('HGET', KEYS[1], ARGV[4 * i - 2])
  ours[i] = marked[i] and 1 or 0
end
for at = 4 * batches + 2, #ARGV, 5 do
  local i, position, what = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2]
  if marked[i] and string.sub(marked[i], position, position) ~= '1' then
    if what == 'w' then
      redis.call('LPUSH', KEYS[2], ARGV[at + 4])
    elseif what == 'm' then
      redis.call('LPUSH', KEYS[7], ARGV[at + 4])
    elseif what == 'd' then
      put_aside(KEYS[3], KEYS[4], KEYS[5], now_ms() + ARGV[at + 3], ' ', ARGV[at + 4])
    else
      local event = redis.call('LINDEX', KEYS[7 + i], position - 1)
      if event then
        redis.call('RPUSH', KEYS[2], event)
      end
    end
  end
end
local left = 0
for i = 1, batches do
  local number, marks = ARGV[4 * i - 2], ARGV[4 * i - 1]
  if marked[i] then
    left = left + ARGV[4 * i]
    if marks == '*' then
      redis.call('HDEL', KEYS[1], number)
      redis.call('DEL', KEYS[7 + i])
    else
      if ARGV[4 * i + 1] == '1' and marked[i] ~= '' then
        marks = merged(marks, marked[i])
      end
      redis.call('HSET', KEYS[1], number, marks)
    end
  end
end
if left > 0 then
  redis.call('INCRBY', KEYS[6], left)
end
return ours
