-- Version 1 of the file.
--
-- A message's seq is the id of its queue, shifted left by 47 bits, plus its place in it: one b-tree holds every queue,
-- a push appends to a range of it, and a claim reads on from where the last one stopped.

CREATE TABLE meta (
    boot TEXT NOT NULL,       -- the boot of the machine that every monotonic time in this file belongs to
    owners INTEGER NOT NULL   -- owner ids given out so far
);
INSERT INTO meta VALUES ('', 0);

CREATE TABLE queue (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    head INTEGER NOT NULL,    -- every message before it was looked at: it is claimed, parked or delayed
    tail INTEGER NOT NULL,    -- seq of the next message
    waiting INTEGER NOT NULL DEFAULT 0,    -- counters, because COUNT(*) takes 9 ms at 100,000 rows
    delayed INTEGER NOT NULL DEFAULT 0,
    in_flight INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE message (
    seq INTEGER PRIMARY KEY,
    key INTEGER NOT NULL DEFAULT 0,     -- hash of the event's key, 0: none
    aside INTEGER NOT NULL DEFAULT 0,   -- 1: not in line, because delayed or taken out of turn
    times INTEGER NOT NULL DEFAULT 0,   -- hand-outs since the last settle that ended with their owner's death
    body BLOB NOT NULL                  -- the CloudEvents JSON event
);

CREATE TABLE claim (
    seq INTEGER PRIMARY KEY,
    receipt INTEGER NOT NULL,           -- owner's id, shifted left by 32 bits, plus the number of the hand-out
    key INTEGER NOT NULL,
    started INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE owner (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    until REAL NOT NULL                 -- monotonic: the end of its lease
);

-- Messages before the head that wait: returned to their place, or passed over because another owner held their key.
CREATE TABLE parked (
    queue INTEGER NOT NULL,
    key INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (queue, key, seq)
) WITHOUT ROWID;

-- Keys with unsettled, retrying or parked messages, and no others.
CREATE TABLE keys (
    queue INTEGER NOT NULL,
    key INTEGER NOT NULL,
    owner INTEGER NOT NULL DEFAULT 0,      -- who holds it, 0: nobody
    held INTEGER NOT NULL DEFAULT 0,       -- its unsettled deliveries
    retrying INTEGER NOT NULL DEFAULT 0,   -- its nacked messages that are not due yet: nobody gets the key
    parked INTEGER NOT NULL DEFAULT 0,
    first INTEGER,                         -- seq of the first parked
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
-- Claims find parked messages by key, so that 100,000 of a key that another owner holds cost them nothing.
CREATE INDEX keys_by_first ON keys (queue, owner, first) WHERE parked > 0 AND retrying = 0;

CREATE TABLE delayed (
    queue INTEGER NOT NULL,
    due REAL NOT NULL,            -- monotonic
    seq INTEGER NOT NULL,
    wall REAL NOT NULL,           -- the same moment as Unix time, for after a reboot
    retrying INTEGER NOT NULL,    -- 1: nacked, it holds its key; 0: dispatched with a delay
    PRIMARY KEY (queue, due, seq)
) WITHOUT ROWID;

-- Ids that are not stored again, for ?dedup=SECONDS.
CREATE TABLE seen (
    queue INTEGER NOT NULL,
    id TEXT NOT NULL,
    until REAL NOT NULL,
    wall REAL NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (queue, id)
) WITHOUT ROWID;
CREATE INDEX seen_by_until ON seen (until);
