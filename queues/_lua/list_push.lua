#!lua
-- Store events; refused as a whole when the server is at its maxmemory. For KEYS, ARGV and what it returns see store.
-- include store
return store(function()
  return redis.call('LLEN', KEYS[1])
end, function(event)
  redis.call('LPUSH', KEYS[1], event)
end)
