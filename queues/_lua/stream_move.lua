#!lua flags=allow-oom
-- Events go on as another entry, in this stream (nack) or in one beside it (dead letters), and are done here, in one step.
-- KEYS: stream, leases, started, settled; and of the queue they go to: stream, delayed, bell, seq, aside.
-- ARGV: group, owner, 1 to count them as settled, then for each its id, its delay in ms (-1: none), the group that it is
-- for ('': all), and the event. One that is done already, by a call whose answer was lost, is left out.
-- Returns how many went on; -1 when the owner's lease was ended: nothing was done.
-- include now
-- include delay
-- include stream_lease
-- include stream_groups
local stream, group, to = KEYS[1], ARGV[1], KEYS[5]
if not holds(KEYS[2], ARGV[2]) then
  return -1
end
redis.call('XLEN', KEYS[5]) -- what is there may be no stream: an error now, before anything is done
local alone = is_alone(groups_of(stream), group, KEYS[4])
local moved = 0
for at = 4, #ARGV, 4 do
  local id, delay, only, event = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  if redis.call('XACK', stream, group, id) == 1 then
    if delay < 0 then
      redis.call('XADD', to, '*', 'event', event)
    elseif only == '' then
      put_aside(KEYS[6], KEYS[7], KEYS[8], now_ms() + delay, ' ', event)
    else
      redis.call('HINCRBY', KEYS[9], only, 1)
      put_aside(KEYS[6], KEYS[7], KEYS[8], now_ms() + delay, '@' .. only .. ' ', event)
    end
    redis.call('SREM', KEYS[3], id)
    if alone then
      redis.call('XDEL', stream, id)
    end
    moved = moved + 1
  end
end
if ARGV[3] == '1' and moved > 0 then
  redis.call('HINCRBY', KEYS[4], group, moved)
end
return moved
