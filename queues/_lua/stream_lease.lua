-- Whether an owner's deliveries are still his. One whose lease is over keeps them until they are taken from him: then
-- his score is 0 for as long as that takes, and he is gone after it. A name never comes back.
local function holds(leases, owner)
  local till = redis.call('ZSCORE', leases, owner)
  return till and tonumber(till) > 0
end
