#!lua flags=allow-oom
-- Take events: see claim.
-- include claim
return claim(function(limit)
  local count = redis.call('SORT', KEYS[1], 'BY', 'nosort', 'LIMIT', 0, limit, 'DESC', 'STORE', KEYS[3])
  if count > 0 then
    redis.call('LTRIM', KEYS[1], 0, -(count + 1))
  end
  return count
end)
