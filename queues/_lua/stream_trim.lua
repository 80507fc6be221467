-- Remove what every group is past: what is older than the oldest that one of them has not settled or not seen.
-- An id is two numbers, too long for arithmetic here: of two numbers without leading zeros the longer is the larger.
local function is_before(a, b)
  local a_time, a_seq = string.match(a, '(%d+)-(%d+)')
  local b_time, b_seq = string.match(b, '(%d+)-(%d+)')
  if a_time == b_time then
    a_time, b_time = a_seq, b_seq
  end
  if #a_time ~= #b_time then
    return #a_time < #b_time
  end
  return a_time < b_time
end

local function next_after(id)
  local time, seq = string.match(id, '(%d+)-(%d+)')
  return #seq > 14 and id or string.format('%s-%.0f', time, seq + 1)
end

local function trim(stream, groups)
  local first
  for _, group in ipairs(groups) do
    local open = next_after(group['last-delivered-id'])
    if group['pending'] > 0 then
      open = redis.call('XPENDING', stream, group['name'])[2]
    end
    if not first or is_before(open, first) then
      first = open
    end
  end
  if first then
    redis.call('XTRIM', stream, 'MINID', first)
  end
end
