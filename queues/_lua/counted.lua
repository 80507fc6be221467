-- An event that goes back after its owner's death carries the number of such deaths; one that was handed out before
-- counts this death only when it was reported to be started.
local function counted(event, mark)
  local number, rest = string.match(event, '^{"deliveries":(%d+),(.*)$')
  if number then
    if mark ~= '2' then
      return event
    end
    return '{"deliveries":' .. (number + 1) .. ',' .. rest
  end
  if string.sub(event, 1, 2) == '{"' then
    return '{"deliveries":1,' .. string.sub(event, 2)
  end
  return event
end
