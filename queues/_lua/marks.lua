-- Marks, with those that the server has and we may not know of.
local function merged(marks, known)
  local both = {}
  for position = 1, #marks do
    local done = string.sub(known, position, position) == '1'
    both[position] = done and '1' or string.sub(marks, position, position)
  end
  return table.concat(both)
end
