-- What all scripts that settle positions of batches have in common: each event that goes on is written, then its position
-- is marked, in one step. KEYS: own, waiting, delayed, bell, seq, settled, dead, then the batches.
-- ARGV: how many batches; for each its number, its marks ('*': every position is done), how many events have left the
-- queue, and 1 if marks that an earlier call may have made must stay; then what goes on.
local batches = tonumber(ARGV[1])
local ours, marked = {}, {}
for i = 1, batches do
  marked[i] = redis.call('HGET', KEYS[1], ARGV[4 * i - 2])
  ours[i] = marked[i] and 1 or 0
end

-- Whether a position is still to be settled; batch and position count from 1.
local function is_open(i, position)
  return marked[i] and string.sub(marked[i], position, position) ~= '1'
end

-- Marks, with those that the server has and we may not know of.
local function merged(marks, known)
  local both = {}
  for position = 1, #marks do
    local done = string.sub(known, position, position) == '1'
    both[position] = done and '1' or string.sub(marks, position, position)
  end
  return table.concat(both)
end

-- Returns 1 for each batch, 0 for one that is no longer ours: nothing is done for it.
local function write_marks()
  local left = 0
  for i = 1, batches do
    local number, marks = ARGV[4 * i - 2], ARGV[4 * i - 1]
    if marked[i] then
      left = left + ARGV[4 * i]
      if marks == '*' then
        redis.call('HDEL', KEYS[1], number, 'places' .. number)
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
end
