-- Give events to the consumer `released`, from whom every fetch takes first, the oldest first. Their counts stay.
local function hand_back(stream, group, started, ids, count)
  if #ids == 0 then
    return
  end
  local command = {'XCLAIM', stream, group, 'released', 0}
  for _, id in ipairs(ids) do
    command[#command + 1] = id
  end
  if count then
    command[#command + 1] = 'RETRYCOUNT'
    command[#command + 1] = count
  end
  command[#command + 1] = 'JUSTID'
  redis.call(unpack(command))
  redis.call('SREM', started, unpack(ids))
end
