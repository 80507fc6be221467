-- What the thread asks of the file, as stored procedures: an INSERT into the view `request` fires the trigger of its
-- kind, row by row, and is one transaction. So a whole group commit is a single sqlite3_step(): Python's sqlite3 gives
-- up the interpreter lock for each step and gets it back up to 5 ms later while the event loop is busy. One statement
-- a batch makes 13,000 events a second beside a busy loop; BEGIN, INSERT, UPDATE, COMMIT make 4,000.
--
-- All of this is temporary: it belongs to the connection, not to the file. Triggers have no variables, so steps pass
-- sets of rows on in temporary tables:
--   settled   deliveries that are still the asker's, being settled, returned or looked up
--   chosen    messages being handed out by request n
--   look      the next messages in line
--   answer    the results, read after the commit

CREATE TEMP TABLE answer (n INTEGER PRIMARY KEY, value INTEGER, lost TEXT, more INTEGER, wake REAL);
CREATE TEMP TABLE chosen (n INTEGER, seq INTEGER, key INTEGER, parked INTEGER, size INTEGER, PRIMARY KEY (n, seq))
WITHOUT ROWID;
CREATE TEMP TABLE look (seq INTEGER PRIMARY KEY, key INTEGER, aside INTEGER, size INTEGER, rank INTEGER);
CREATE TEMP TABLE settled (
    seq INTEGER PRIMARY KEY, key INTEGER, receipt INTEGER, retrying INTEGER,
    due REAL, wall REAL, start INTEGER, size INTEGER
);

CREATE TEMP VIEW request (
    kind, n, queue, owner, receipt, now, wall, until, most, each, span, bytes, other, deliveries, args, bodies
) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;
CREATE TEMP VIEW lookup (n, owner, most, deliveries) AS SELECT NULL, NULL, NULL, NULL;
CREATE TEMP VIEW remember (queue, now, wall, until, most, args) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL;
CREATE TEMP VIEW unclaim (queue) AS SELECT NULL;
CREATE TEMP VIEW line_up (queue) AS SELECT NULL;
CREATE TEMP VIEW fall_due (queue, now, most) AS SELECT NULL, NULL, NULL;
CREATE TEMP VIEW reclaim (queue, now, owner) AS SELECT NULL, NULL, NULL;
CREATE TEMP VIEW hand_out (n, queue, owner, receipt, until) AS SELECT NULL, NULL, NULL, NULL, NULL;

CREATE TEMP TRIGGER start INSTEAD OF INSERT ON request WHEN NEW.kind = 'start' BEGIN
    DELETE FROM answer;
    DELETE FROM chosen;
END;

-- push: args is an array of [size, key, start, rank, due, wall, id]; of `bodies` the message takes `size` bytes from
-- `start`. `rank` counts the messages without a delay up to this one; it is refused above the room that is left below
-- `most`. With `until`, an id that is still remembered is not stored again. `other`: whether any has a delay.
-- Answers how many were accepted.
CREATE TEMP TRIGGER push INSTEAD OF INSERT ON request WHEN NEW.kind = 'push' BEGIN
    INSERT INTO answer (n, value)
        SELECT NEW.n, count(*) FROM queue AS q, json_each(NEW.args) AS j
        WHERE NEW.most IS NOT NULL AND q.id = NEW.queue AND j.value ->> 3 <= max(0, NEW.most - q.waiting);
    INSERT INTO remember SELECT NEW.queue, NEW.now, NEW.wall, NEW.until, NEW.most, NEW.args
        WHERE NEW.until IS NOT NULL;
    INSERT INTO message (seq, key, aside, body)
        SELECT q.tail + j.key, j.value ->> 1, j.value ->> 4 IS NOT NULL,
            substr(NEW.bodies, j.value ->> 2, j.value ->> 0)
        FROM queue AS q, json_each(NEW.args) AS j
        WHERE q.id = NEW.queue AND (NEW.most IS NULL OR j.value ->> 3 <= max(0, NEW.most - q.waiting)) AND (
            NEW.until IS NULL
            OR q.tail + j.key = (SELECT s.seq FROM seen AS s WHERE s.queue = NEW.queue AND s.id = j.value ->> 6)
        );
    UPDATE queue SET waiting = waiting + changes() WHERE id = NEW.queue;
    INSERT INTO delayed (queue, due, seq, wall, retrying)
        SELECT NEW.queue, j.value ->> 4, m.seq, j.value ->> 5, 0
        FROM queue AS q, json_each(NEW.args) AS j CROSS JOIN message AS m ON m.seq = q.tail + j.key
        WHERE NEW.other AND q.id = NEW.queue AND j.value ->> 4 IS NOT NULL;
    UPDATE queue SET waiting = waiting - changes(), delayed = delayed + changes(),
        tail = tail + json_array_length(NEW.args) WHERE id = NEW.queue;
END;

CREATE TEMP TRIGGER remember INSTEAD OF INSERT ON remember BEGIN
    DELETE FROM seen WHERE (queue, id) IN (
        SELECT queue, id FROM seen WHERE until <= NEW.now ORDER BY until LIMIT 2 * json_array_length(NEW.args) + 100
    );
    INSERT INTO seen (queue, id, until, wall, seq)
        SELECT NEW.queue, j.value ->> 6, NEW.until, NEW.wall, q.tail + j.key FROM queue AS q, json_each(NEW.args) AS j
        WHERE q.id = NEW.queue AND (NEW.most IS NULL OR j.value ->> 3 <= max(0, NEW.most - q.waiting))
        ON CONFLICT DO UPDATE SET until = excluded.until, wall = excluded.wall, seq = excluded.seq
            WHERE until <= NEW.now;
END;

-- Of the deliveries, {receipt: [seq, …]}, those that are still the asker's: into `settled`; the others are answered.
CREATE TEMP TRIGGER lookup INSTEAD OF INSERT ON lookup BEGIN
    DELETE FROM settled;
    INSERT OR IGNORE INTO settled (seq, key, receipt)
        SELECT c.seq, c.key, c.receipt FROM json_each(NEW.deliveries) AS r CROSS JOIN json_each(r.value) AS s
        CROSS JOIN claim AS c ON c.seq = s.value AND c.receipt = CAST(r.key AS INTEGER)
        WHERE c.receipt >> 32 = NEW.owner;
    INSERT INTO answer (n, value) SELECT NEW.n, count(*) FROM settled;
    UPDATE answer SET lost = (
        SELECT json_group_array(json_array(s.value, CAST(r.key AS INTEGER)))
        FROM json_each(NEW.deliveries) AS r CROSS JOIN json_each(r.value) AS s
        WHERE NOT EXISTS (SELECT 1 FROM settled AS t WHERE t.seq = s.value AND t.receipt = CAST(r.key AS INTEGER))
    ) WHERE n = NEW.n AND value < NEW.most;
END;

-- `settled` is no longer claimed; a key without deliveries is nobody's.
CREATE TEMP TRIGGER unclaim INSTEAD OF INSERT ON unclaim BEGIN
    DELETE FROM claim WHERE seq IN (SELECT seq FROM settled);
    UPDATE keys SET held = held - s.n, owner = CASE WHEN held = s.n THEN 0 ELSE owner END
        FROM (SELECT key, count(*) AS n FROM settled WHERE key <> 0 GROUP BY key) AS s
        WHERE keys.queue = NEW.queue AND keys.key = s.key;
    DELETE FROM keys WHERE queue = NEW.queue AND key IN (SELECT key FROM settled WHERE key <> 0)
        AND held = 0 AND retrying = 0 AND parked = 0;
    UPDATE queue SET in_flight = in_flight - (SELECT count(*) FROM settled)
        WHERE id = NEW.queue AND EXISTS (SELECT 1 FROM settled);
END;

-- `settled` waits again, each message at its place.
CREATE TEMP TRIGGER line_up INSTEAD OF INSERT ON line_up BEGIN
    UPDATE message SET aside = 0 WHERE seq IN (SELECT seq FROM settled) AND aside;
    INSERT INTO parked (queue, key, seq)
        SELECT NEW.queue, key, seq FROM settled WHERE seq < (SELECT head FROM queue WHERE id = NEW.queue);
    INSERT INTO keys (queue, key, parked, first)
        SELECT NEW.queue, key, count(*), min(seq) FROM settled
        WHERE key <> 0 AND seq < (SELECT head FROM queue WHERE id = NEW.queue) GROUP BY key
        ON CONFLICT DO UPDATE SET parked = parked + excluded.parked,
            first = min(coalesce(first, excluded.first), excluded.first);
    UPDATE queue SET waiting = waiting + (SELECT count(*) FROM settled)
        WHERE id = NEW.queue AND EXISTS (SELECT 1 FROM settled);
END;

CREATE TEMP TRIGGER ack INSTEAD OF INSERT ON request WHEN NEW.kind = 'ack' BEGIN
    INSERT INTO lookup VALUES (NEW.n, NEW.owner, NEW.most, NEW.deliveries);
    INSERT INTO unclaim VALUES (NEW.queue);
    DELETE FROM message WHERE seq IN (SELECT seq FROM settled);
END;

CREATE TEMP TRIGGER release INSTEAD OF INSERT ON request WHEN NEW.kind = 'release' BEGIN
    INSERT INTO lookup VALUES (NEW.n, NEW.owner, NEW.most, NEW.deliveries);
    INSERT INTO unclaim VALUES (NEW.queue);
    INSERT INTO line_up VALUES (NEW.queue);
END;

CREATE TEMP TRIGGER started INSTEAD OF INSERT ON request WHEN NEW.kind = 'started' BEGIN
    INSERT INTO lookup VALUES (NEW.n, NEW.owner, NEW.most, NEW.deliveries);
    UPDATE claim SET started = 1 WHERE seq IN (SELECT seq FROM settled) AND NOT started;
END;

CREATE TEMP TRIGGER extend INSTEAD OF INSERT ON request WHEN NEW.kind = 'extend' BEGIN
    INSERT INTO lookup VALUES (NEW.n, NEW.owner, NEW.most, NEW.deliveries);
    UPDATE owner SET until = NEW.until WHERE id = NEW.owner;
END;

-- nack: args is an array of [seq, receipt, due, wall, start, size]; due null: at once; size null: unchanged.
CREATE TEMP TRIGGER nack INSTEAD OF INSERT ON request WHEN NEW.kind = 'nack' BEGIN
    INSERT INTO lookup VALUES (NEW.n, NEW.owner, NEW.most, NEW.deliveries);
    UPDATE settled SET due = j.value ->> 2, wall = j.value ->> 3, start = j.value ->> 4, size = j.value ->> 5
        FROM json_each(NEW.args) AS j WHERE settled.seq = j.value ->> 0 AND settled.receipt = j.value ->> 1;
    UPDATE message SET times = 0, aside = s.due IS NOT NULL,
        body = CASE WHEN s.size IS NULL THEN body ELSE substr(NEW.bodies, s.start, s.size) END
        FROM settled AS s WHERE message.seq = s.seq;
    INSERT INTO delayed (queue, due, seq, wall, retrying)
        SELECT NEW.queue, due, seq, wall, 1 FROM settled WHERE due IS NOT NULL;
    UPDATE queue SET delayed = delayed + changes() WHERE id = NEW.queue;
    UPDATE keys SET retrying = retrying + s.n
        FROM (SELECT key, count(*) AS n FROM settled WHERE key <> 0 AND due IS NOT NULL GROUP BY key) AS s
        WHERE keys.queue = NEW.queue AND keys.key = s.key;
    INSERT INTO unclaim VALUES (NEW.queue);
    DELETE FROM settled WHERE due IS NOT NULL;
    INSERT INTO line_up VALUES (NEW.queue);
END;

-- move: args is an array of [seq, receipt, key, start, size, due, wall]; to the queue `other`.
CREATE TEMP TRIGGER move INSTEAD OF INSERT ON request WHEN NEW.kind = 'move' BEGIN
    INSERT INTO lookup VALUES (NEW.n, NEW.owner, NEW.most, NEW.deliveries);
    INSERT INTO message (seq, key, aside, body)
        SELECT q.tail + j.key, j.value ->> 2, j.value ->> 5 IS NOT NULL,
            substr(NEW.bodies, j.value ->> 3, j.value ->> 4)
        FROM queue AS q, json_each(NEW.args) AS j
        CROSS JOIN settled AS s ON s.seq = j.value ->> 0 AND s.receipt = j.value ->> 1
        WHERE q.id = NEW.other;
    UPDATE queue SET waiting = waiting + changes() WHERE id = NEW.other;
    INSERT INTO delayed (queue, due, seq, wall, retrying)
        SELECT NEW.other, j.value ->> 5, m.seq, j.value ->> 6, 0
        FROM queue AS q, json_each(NEW.args) AS j CROSS JOIN message AS m ON m.seq = q.tail + j.key
        WHERE q.id = NEW.other AND j.value ->> 5 IS NOT NULL;
    UPDATE queue SET waiting = waiting - changes(), delayed = delayed + changes(),
        tail = tail + json_array_length(NEW.args) WHERE id = NEW.other;
    INSERT INTO unclaim VALUES (NEW.queue);
    DELETE FROM message WHERE seq IN (SELECT seq FROM settled);
END;

-- farewell: the owner leaves; what it holds goes back uncounted, except for args, [seq, …], which stay leased.
CREATE TEMP TRIGGER farewell INSTEAD OF INSERT ON request WHEN NEW.kind = 'farewell' BEGIN
    DELETE FROM settled;
    INSERT INTO settled (seq, key)
        SELECT seq, key FROM claim
        WHERE receipt >> 32 = NEW.owner AND seq NOT IN (SELECT value FROM json_each(NEW.args));
    INSERT INTO unclaim VALUES (NEW.queue);
    INSERT INTO line_up VALUES (NEW.queue);
    DELETE FROM owner WHERE id = NEW.owner AND NOT EXISTS (SELECT 1 FROM claim WHERE receipt >> 32 = NEW.owner);
END;
