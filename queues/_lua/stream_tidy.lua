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

-- What the only group has settled while there were others, behind something that it has not: up to some 2,000 entries.
-- Returns whether that was all.
local function remove_settled(stream, group)
  local after, last, removed = '-', group['last-delivered-id'], 0
  while removed < 2000 do
    local entries, is_open, ids = redis.call('XRANGE', stream, after, last, 'COUNT', 200), {}, {}
    if #entries == 0 then
      return true
    end
    local newest = entries[#entries][1]
    if group['pending'] > 0 then
      for _, one in ipairs(redis.call('XPENDING', stream, group['name'], entries[1][1], newest, group['pending'])) do
        is_open[one[1]] = true
      end
    end
    for _, entry in ipairs(entries) do
      if not is_open[entry[1]] then
        ids[#ids + 1] = entry[1]
      end
    end
    if #ids > 0 then
      removed = removed + redis.call('XDEL', stream, unpack(ids))
    end
    after = '(' .. newest
  end
  return false
end

-- Remove what all are past, and what is left of groups that somebody has removed: of each that settled something, or kept
-- others from removing something, the hash `settled` has a field.
local function tidy(stream, groups, settled)
  trim(stream, groups)
  local is_there, beside = {}, string.match(settled, '^.*:')
  for _, group in ipairs(groups) do
    is_there[group['name']] = true
  end
  for _, name in ipairs(redis.call('HKEYS', settled)) do
    if not is_there[name] then
      if #groups == 1 and not remove_settled(stream, groups[1]) then
        return
      end
      redis.call('HDEL', settled, name)
      redis.call('DEL', beside .. 'leases:' .. name, beside .. 'started:' .. name)
    end
  end
end
