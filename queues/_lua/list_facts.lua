-- KEYS: waiting, delayed, parked total, leases. ARGV[1]: what the names of what an owner holds begin with. Returns, all
-- of one moment: how many wait and are due, how many are not due, then each owner and how many he holds unsettled.
-- include size
local facts = size()
for _, owner in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  local own, held = ARGV[1] .. owner, 0
  for _, number in ipairs(redis.call('HKEYS', own)) do
    if number:find('^%d+$') then
      local _, settled = redis.call('HGET', own, number):gsub('1', '')
      held = held + redis.call('LLEN', own .. ':' .. number) - settled
    end
  end
  facts[#facts + 1], facts[#facts + 2] = owner, held
end
return facts
