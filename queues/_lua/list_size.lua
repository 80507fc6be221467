-- KEYS: waiting, delayed, parked total. Returns how many wait and are due, and how many are not due.
-- include size
return size()
