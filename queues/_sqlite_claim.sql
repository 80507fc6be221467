-- Stored procedures, continued from _sqlite_procedures.sql: handing out, and what comes back to be handed out again.

-- What owners held whose lease is over goes back to its place. Their death counts for first hand-outs and for what
-- was reported as started: the others only lay beside it.
CREATE TEMP TRIGGER reclaim INSTEAD OF INSERT ON reclaim BEGIN
    DELETE FROM settled;
    INSERT INTO settled (seq, key)
        SELECT c.seq, c.key FROM owner AS o JOIN claim AS c ON c.receipt >> 32 = o.id
        WHERE o.queue = NEW.queue AND o.until <= NEW.now AND o.id <> NEW.owner;
    UPDATE message SET times = times + 1 WHERE seq IN (SELECT seq FROM settled)
        AND (times = 0 OR (SELECT started FROM claim WHERE claim.seq = message.seq));
    INSERT INTO unclaim VALUES (NEW.queue);
    INSERT INTO line_up VALUES (NEW.queue);
    DELETE FROM owner WHERE queue = NEW.queue AND until <= NEW.now AND id <> NEW.owner;
END;

-- Delayed messages whose time has come take their place.
CREATE TEMP TRIGGER fall_due INSTEAD OF INSERT ON fall_due BEGIN
    DELETE FROM settled;
    INSERT INTO settled (seq, key, due, retrying)
        SELECT d.seq, m.key, d.due, d.retrying FROM (
            SELECT seq, due, retrying FROM delayed WHERE queue = NEW.queue AND due <= NEW.now ORDER BY due LIMIT NEW.most
        ) AS d JOIN message AS m ON m.seq = d.seq;
    DELETE FROM delayed WHERE (queue, due, seq) IN (SELECT NEW.queue, due, seq FROM settled);
    UPDATE keys SET retrying = retrying - s.n
        FROM (SELECT key, count(*) AS n FROM settled WHERE key <> 0 AND retrying GROUP BY key) AS s
        WHERE keys.queue = NEW.queue AND keys.key = s.key;
    UPDATE queue SET delayed = delayed - (SELECT count(*) FROM settled) WHERE id = NEW.queue;
    INSERT INTO line_up VALUES (NEW.queue);
END;

-- claim: up to `most` messages and about `bytes` bytes, at most `each` of one key, of keys that no other owner holds:
-- first the parked ones, then those in line, of which it looks at up to `span` and parks what it may not take.
-- Answers how many; whether there is more to look at; else when something falls due or a lease ends.
CREATE TEMP TRIGGER claim INSTEAD OF INSERT ON request WHEN NEW.kind = 'claim' BEGIN
    INSERT INTO reclaim SELECT NEW.queue, NEW.now, NEW.owner
        WHERE EXISTS (SELECT 1 FROM owner WHERE queue = NEW.queue AND until <= NEW.now AND id <> NEW.owner);
    INSERT INTO fall_due SELECT NEW.queue, NEW.now, NEW.most
        WHERE EXISTS (SELECT 1 FROM delayed WHERE queue = NEW.queue AND due <= NEW.now);

    INSERT INTO chosen (n, seq, key, parked, size)
        SELECT NEW.n, c.seq, c.key, 1, length(m.body) FROM (
            SELECT * FROM (
                SELECT seq, 0 AS key FROM parked WHERE queue = NEW.queue AND key = 0 ORDER BY seq LIMIT NEW.most
            )
            UNION ALL
            SELECT p.seq, p.key FROM (
                SELECT key, sum(min(parked, NEW.each)) OVER (ORDER BY first) - min(parked, NEW.each) AS ahead FROM (
                    SELECT key, parked, first FROM keys
                    WHERE queue = NEW.queue AND owner = 0 AND parked > 0 AND retrying = 0
                    UNION ALL
                    SELECT key, parked, first FROM keys
                    WHERE queue = NEW.queue AND owner = NEW.owner AND parked > 0 AND retrying = 0
                    ORDER BY first LIMIT NEW.most
                )
            ) AS k CROSS JOIN parked AS p ON p.queue = NEW.queue AND p.key = k.key AND p.seq <= coalesce(
                (SELECT seq FROM parked WHERE queue = NEW.queue AND key = k.key ORDER BY seq LIMIT 1 OFFSET NEW.each - 1),
                0x7fffffffffffffff
            ) WHERE k.ahead < NEW.most
        ) AS c CROSS JOIN message AS m ON m.seq = c.seq ORDER BY c.seq LIMIT NEW.most;
    DELETE FROM chosen WHERE n = NEW.n AND (SELECT sum(size) FROM chosen WHERE n = NEW.n) > NEW.bytes AND seq > (
        SELECT max(seq) FROM (
            SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM chosen WHERE n = NEW.n
        ) WHERE before < NEW.bytes
    );

    DELETE FROM look;
    INSERT INTO look (seq, key, aside, size, rank)
        SELECT seq, key, aside, length(body), row_number() OVER (PARTITION BY key ORDER BY seq) FROM (
            SELECT seq, key, aside, body FROM message
            WHERE seq >= (SELECT head FROM queue WHERE id = NEW.queue)
                AND seq < (SELECT tail FROM queue WHERE id = NEW.queue)
            ORDER BY seq LIMIT (
                SELECT CASE WHEN total(size) < NEW.bytes THEN max(0, NEW.span - count(*)) ELSE 0 END
                FROM chosen WHERE n = NEW.n
            )
        );
    DELETE FROM look WHERE (SELECT sum(size) FROM look) > NEW.bytes AND seq > (
        SELECT max(seq) FROM (
            SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM look
        ) WHERE before < NEW.bytes
    );
    INSERT INTO chosen (n, seq, key, parked, size)
        SELECT NEW.n, seq, key, 0, size FROM look WHERE NOT aside AND (key = 0 OR rank <= NEW.each AND NOT EXISTS (
            SELECT 1 FROM keys AS k WHERE k.queue = NEW.queue AND k.key = look.key
                AND (k.owner NOT IN (0, NEW.owner) OR k.retrying > 0 OR k.parked > 0)
        )) ORDER BY seq LIMIT (SELECT max(0, NEW.most - count(*)) FROM chosen WHERE n = NEW.n);
    DELETE FROM look WHERE (SELECT count(*) FROM chosen WHERE n = NEW.n) >= NEW.most
        AND seq > (SELECT max(seq) FROM chosen WHERE n = NEW.n);
    INSERT INTO parked (queue, key, seq)
        SELECT NEW.queue, key, seq FROM look
        WHERE NOT aside AND NOT EXISTS (SELECT 1 FROM chosen AS c WHERE c.n = NEW.n AND c.seq = look.seq);
    INSERT INTO keys (queue, key, parked, first)
        SELECT NEW.queue, key, count(*), min(seq) FROM look
        WHERE NOT aside AND NOT EXISTS (SELECT 1 FROM chosen AS c WHERE c.n = NEW.n AND c.seq = look.seq) GROUP BY key
        ON CONFLICT DO UPDATE SET parked = parked + excluded.parked,
            first = min(coalesce(first, excluded.first), excluded.first);
    -- An empty look with room left means that no message is left between head and tail: they were taken out of turn.
    UPDATE queue SET head = coalesce((SELECT max(seq) + 1 FROM look), CASE
        WHEN (SELECT count(*) FROM chosen WHERE n = NEW.n) = 0 THEN tail ELSE head END)
        WHERE id = NEW.queue AND head < tail;

    INSERT INTO hand_out VALUES (NEW.n, NEW.queue, NEW.owner, NEW.receipt, NEW.until);
    UPDATE answer SET more = (SELECT head < tail FROM queue WHERE id = NEW.queue)
        OR EXISTS (SELECT 1 FROM delayed WHERE queue = NEW.queue AND due <= NEW.now) WHERE n = NEW.n;
    UPDATE answer SET wake = (
        SELECT min(wake) FROM (
            SELECT min(due) AS wake FROM delayed WHERE queue = NEW.queue
            UNION ALL
            SELECT min(until) FROM owner WHERE queue = NEW.queue AND id <> NEW.owner
        )
    ) WHERE n = NEW.n AND value = 0;
END;

-- take: those of args, [seq, …], that wait, out of turn.
CREATE TEMP TRIGGER take INSTEAD OF INSERT ON request WHEN NEW.kind = 'take' BEGIN
    INSERT OR IGNORE INTO chosen (n, seq, key, parked, size)
        SELECT NEW.n, m.seq, m.key, m.seq < (SELECT head FROM queue WHERE id = NEW.queue), length(m.body)
        FROM json_each(NEW.args) AS j CROSS JOIN message AS m ON m.seq = j.value
        WHERE NOT m.aside AND NOT EXISTS (SELECT 1 FROM claim AS c WHERE c.seq = m.seq) AND NOT EXISTS (
            SELECT 1 FROM keys AS k WHERE k.queue = NEW.queue AND k.key = m.key
                AND (k.owner NOT IN (0, NEW.owner) OR k.retrying > 0)
        );
    UPDATE message SET aside = 1 WHERE seq IN (SELECT seq FROM chosen WHERE n = NEW.n AND NOT parked);
    INSERT INTO hand_out VALUES (NEW.n, NEW.queue, NEW.owner, NEW.receipt, NEW.until);
END;

CREATE TEMP TRIGGER hand_out INSTEAD OF INSERT ON hand_out BEGIN
    DELETE FROM parked WHERE (queue, key, seq) IN (SELECT NEW.queue, key, seq FROM chosen WHERE n = NEW.n AND parked);
    UPDATE keys SET parked = keys.parked - c.n,
        first = (SELECT min(p.seq) FROM parked AS p WHERE p.queue = keys.queue AND p.key = keys.key)
        FROM (SELECT key, count(*) AS n FROM chosen WHERE n = NEW.n AND parked AND key <> 0 GROUP BY key) AS c
        WHERE keys.queue = NEW.queue AND keys.key = c.key;
    INSERT INTO claim (seq, receipt, key) SELECT seq, NEW.receipt, key FROM chosen WHERE n = NEW.n;
    INSERT INTO keys (queue, key, owner, held)
        SELECT NEW.queue, key, NEW.owner, count(*) FROM chosen WHERE n = NEW.n AND key <> 0 GROUP BY key
        ON CONFLICT DO UPDATE SET owner = excluded.owner, held = held + excluded.held;
    INSERT INTO answer (n, value) SELECT NEW.n, count(*) FROM chosen WHERE n = NEW.n;
    UPDATE queue SET waiting = waiting - a.value, in_flight = in_flight + a.value
        FROM (SELECT value FROM answer WHERE n = NEW.n AND value > 0) AS a WHERE id = NEW.queue;
    INSERT INTO owner (id, queue, until)
        SELECT NEW.owner, NEW.queue, NEW.until FROM answer WHERE n = NEW.n AND value > 0
        ON CONFLICT DO UPDATE SET until = excluded.until;
END;
