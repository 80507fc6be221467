#!lua
-- Store these events; refused as a whole when the server is at its maxmemory. KEYS: stream.
for at = 1, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'event', ARGV[at])
end
return #ARGV
