#!lua flags=allow-oom
-- Give back what an owner holds: see reap. Events return to the tail, the oldest last, so that it is taken first.
-- include reap
return (reap(#KEYS, function(event)
  redis.call('RPUSH', KEYS[1], event)
end))
