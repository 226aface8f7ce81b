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
    PERFORM set_config('sse_server.publishes', 'on', true);
    INSERT INTO django_eventstream_eventcounter AS counter (name, value, updated)
    VALUES (sse_publish.channel, 1, clock_timestamp())
    ON CONFLICT (name) DO UPDATE SET value = counter.value + 1, updated = EXCLUDED.updated
    RETURNING counter.value INTO number;
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
