-- The key of an event, nil when it has none. Our own events have their attributes before their data, so that the first
-- mention of the key is it; whatever may be otherwise is decoded.
local function key_of(event)
  local at = string.find(event, '"partitionkey":', 1, true)
  if not at then
    return nil
  end
  local data = string.find(event, '"data', 1, true)
  if string.sub(event, 1, 1) == '{' and (not data or at < data) then
    local key = string.match(event, '^"partitionkey":"([^"\\]*)"', at)
    if key then
      return key
    end
  end
  local fine, document = pcall(cjson.decode, event)
  local key = fine and type(document) == 'table' and document['partitionkey'] or nil
  return type(key) == 'string' and key or nil
end
