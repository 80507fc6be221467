-- The groups of a stream, each with its facts by name; none when there is no stream.
local function groups_of(stream)
  local found, groups = redis.pcall('XINFO', 'GROUPS', stream), {}
  if found.err then
    return groups
  end
  for at, facts in ipairs(found) do
    groups[at] = {}
    for i = 1, #facts, 2 do
      groups[at][facts[i]] = facts[i + 1]
    end
  end
  return groups
end
