#!lua flags=allow-oom
-- Take events where SORT is not allowed: see claim. One at a time, which costs the server more.
-- include claim
return claim(function(limit)
  local count = 0
  while count < limit and redis.call('LMOVE', KEYS[1], KEYS[3], 'RIGHT', 'RIGHT') do
    count = count + 1
  end
  return count
end)
