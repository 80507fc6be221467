-- Move what is due to the stream. The mark of a copy for one group names it: `@group `.
-- include due
local function promote(stream, delayed, aside, now)
  return move_due(delayed, now, function(member)
    local ends = 17
    if string.sub(member, 17, 17) == '@' then
      ends = string.find(member, ' ', 18, true)
      redis.call('HINCRBY', aside, string.sub(member, 18, ends - 1), -1)
    end
    redis.call('XADD', stream, '*', 'event', string.sub(member, ends + 1))
  end)
end
