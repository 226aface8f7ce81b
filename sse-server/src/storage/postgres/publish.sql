-- Publishing in a transaction of one's own, from any language that speaks SQL:
--
--     BEGIN;
--     INSERT INTO orders …;
--     SELECT sse_publish('orders', 'created', '{"order": 7}');
--     COMMIT;
--
-- The event is there with what else the transaction does, or not at all. The commit publishes it: its
-- number is the channel's next one, and instances with the relay of this database are notified then.
--
-- A channel is locked from its first event in a transaction until the end of it, so that numbers have
-- no holes and become visible in their order: publish last, and commit soon. Who publishes to several
-- channels in one transaction does it in the order of their names, or PostgreSQL may have to roll one
-- of two transactions back (40P01).
--
-- Commits that notify wait for each other in all of the database's channels: PostgreSQL lets only one
-- of them write its log at a time. Who publishes to many channels at once, and can let readers wait
-- until instances look (--refresh), or notifies them after the commit, turns that off:
--
--     ALTER ROLE writer SET sse_server.notify = 'off';
--
-- The tables are those of PostgresStorage, which must have been opened once.

CREATE OR REPLACE FUNCTION sse_publish(channel text, type text, data text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
BEGIN
    IF sse_publish.channel IS NULL OR char_length(sse_publish.channel) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'channel must have 1 to 255 characters' USING ERRCODE = '22023';
    END IF;
    IF sse_publish.type IS NULL OR char_length(sse_publish.type) > 255
        OR sse_publish.type ~ E'[\r\n]' THEN
        RAISE EXCEPTION 'type must have at most 255 characters, and no line end'
            USING ERRCODE = '22023';
    END IF;
    IF sse_publish.type IN ('stream-open', 'stream-reset', 'stream-error', 'keep-alive') THEN
        RAISE EXCEPTION 'type is %, which only the server itself may send', sse_publish.type
            USING ERRCODE = '22023';
    END IF;
    IF sse_publish.data IS NULL
        OR octet_length(sse_publish.type) + octet_length(sse_publish.data) > 1048576 THEN
        RAISE EXCEPTION 'data must be a text, and with the type at most 1048576 bytes'
            USING ERRCODE = '22023';
    END IF;
    -- The trigger below notifies at the commit, once for each channel.
    PERFORM set_config('sse_server.publishes', CASE current_setting('sse_server.notify', true)
        WHEN 'off' THEN 'off' ELSE 'on' END, true);
    UPDATE django_eventstream_eventcounter AS counter
    SET value = counter.value + 1, updated = clock_timestamp()
    WHERE counter.id = (SELECT free.id FROM django_eventstream_eventcounter AS free
        WHERE free.name = sse_publish.channel FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING counter.value INTO number;
    IF NOT FOUND THEN
        -- It is new, or another transaction has it. Each commit wakes all who wait for a row, and each
        -- of them looks for its newest version: so four wait for the row, and the others before it,
        -- where a commit wakes one. The lock ends with the transaction, after that of the row.
        PERFORM pg_advisory_xact_lock(hashtextextended(sse_publish.channel, pg_backend_pid() % 4));
        INSERT INTO django_eventstream_eventcounter AS counter (name, value, updated)
        VALUES (sse_publish.channel, 1, clock_timestamp())
        ON CONFLICT (name) DO UPDATE SET value = counter.value + 1, updated = EXCLUDED.updated
        RETURNING counter.value INTO number;
    END IF;
    IF number = 1 THEN
        -- What django-eventstream finds a reader from the beginning by.
        INSERT INTO django_eventstream_event (channel, type, data, eid, created)
        VALUES (sse_publish.channel, '', '', 0, clock_timestamp()) ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO django_eventstream_event (channel, type, data, eid, created)
    VALUES (sse_publish.channel, COALESCE(NULLIF(sse_publish.type, ''), 'message'),
            to_json(sse_publish.data)::text, number, clock_timestamp());
    RETURN number;
END $$;

CREATE OR REPLACE FUNCTION sse_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- All of a transaction see the last number, and PostgreSQL sends equal notifications once.
    PERFORM pg_notify('sse_server', json_build_object('channel', counter.name, 'pub_id', counter.value)::text)
    FROM django_eventstream_eventcounter AS counter WHERE counter.name = NEW.name;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS sse_notify ON django_eventstream_eventcounter;
CREATE CONSTRAINT TRIGGER sse_notify AFTER INSERT OR UPDATE ON django_eventstream_eventcounter
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (current_setting('sse_server.publishes', true) = 'on') EXECUTE FUNCTION sse_notify();
