-- The groups of a stream, each with its facts by name; none when there is no stream.
local function groups_of(stream)
  local found, groups = redis.pcall('XINFO', 'GROUPS', stream), {}
  if found.err and string.find(found.err, 'no such key', 1, true) then
    return groups
  end
  for at, facts in ipairs(found.err and redis.call('XINFO', 'GROUPS', stream) or found) do
    groups[at] = {}
    for i = 1, #facts, 2 do
      groups[at][facts[i]] = facts[i + 1]
    end
  end
  return groups
end

-- Whether no other group has to see what this one has settled, so that it can be removed at once. Else every group is
-- noted: should one be removed by hand, there is something that was kept back for it.
local function is_alone(groups, group, settled)
  if #groups == 1 and groups[1]['name'] == group then
    return true
  end
  for _, other in ipairs(groups) do
    if redis.call('HEXISTS', settled, other['name']) == 0 then
      redis.call('HINCRBY', settled, other['name'], 0)
    end
  end
  return false
end
