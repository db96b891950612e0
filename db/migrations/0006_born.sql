-- The transaction that a row was born in, so that a claim need look only at rows which are not in the snapshot of an earlier claim that left
-- nothing. By id it meets every row that was stamped under a snapshot that is still held (pg_dump, a report, a standby's feedback): their
-- entries stay in the index, 64 ms for half a million. Rows from before this migration have NULL, and are found by id.
-- The default comes after the column: with it the column would say of all old rows that they were born here and now.
ALTER TABLE public.notifications ADD COLUMN IF NOT EXISTS born xid8;
ALTER TABLE public.notifications ALTER COLUMN born SET DEFAULT pg_current_xact_id();
COMMENT ON COLUMN public.notifications.born IS 'The transaction that inserted the row; set by default, leave it alone.';
-- `NOT is_sent` says the same as `seq IS NULL`, and lets a statement choose between this index and the one by id.
CREATE INDEX IF NOT EXISTS notifications_born ON public.notifications (born) WHERE NOT is_sent;

-- Transactions that inserted a row which says otherwise: COPY of a dump that lists the column, logical replication of all columns. No claim may
-- pass such a row over and stamp a later one of its user. So while anything is in here that a claim can see, it looks at all rows; one that left
-- nothing clears away what it saw.
CREATE TABLE rowcast.strays (
    xid xid8 PRIMARY KEY
);
COMMENT ON TABLE rowcast.strays IS 'Transactions that inserted notifications whose column born names another one.';

-- The size of a new row is looked at in here as well, as rowcast.refuse_size() does for one that is changed: each trigger costs an INSERT of one
-- row as much as all that this one does.
DROP TRIGGER IF EXISTS rowcast_size_of_new ON public.notifications;
CREATE OR REPLACE FUNCTION rowcast.ring() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mode text := current_setting('rowcast.notify', true);
BEGIN
    -- All of it in here and not in a WHEN of the trigger, which Postgres would read and prepare anew for each statement.
    IF octet_length(NEW.message) + octet_length(NEW.channel_type) + coalesce(octet_length(NEW.key), 0) > 33554432
        OR pg_column_size(NEW.user_id) > 1004
        OR (
            pg_column_size(NEW.data) > 131072 AND (pg_column_size(NEW.data) > 1048576 OR pg_column_compression(NEW.data) IS NOT NULL)
            AND octet_length(NEW.data::text) > 33554432
        )
    THEN
        RAISE EXCEPTION 'a notification may have 32 MB of text, 32 MB of data as JSON, and a user id of 1000 bytes'
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    IF NEW.born IS DISTINCT FROM pg_current_xact_id() THEN
        -- Nobody else has this key, so this neither waits nor fails.
        INSERT INTO rowcast.strays VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
    END IF;
    IF mode = 'always' OR (mode IS DISTINCT FROM 'off' AND (SELECT d.last_value FROM rowcast.doorbell AS d) = 1) THEN
        -- An IF of its own, so that a writer who sees *busy* pays for no more than that look.
        IF pg_notification_queue_usage() < 0.5
            AND (mode = 'always' OR extract(epoch FROM clock_timestamp()) < (SELECT u.last_value FROM rowcast.doorbell_until AS u))
        THEN
            NOTIFY rowcast;
        END IF;
    END IF;
    RETURN NULL;
END
$$;

-- What is compressed is smaller as stored than as JSON by more than escapes make that longer: up to 90 times by pglz, 255 times by lz4. So here
-- and above it is written out, and looked at, from 128 kB as stored on.
CREATE OR REPLACE FUNCTION rowcast.refuse_size() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- In here and not in a WHEN of the triggers, which Postgres would read and prepare anew for each statement.
    IF octet_length(NEW.message) + octet_length(NEW.channel_type) + coalesce(octet_length(NEW.key), 0) > 33554432
        OR pg_column_size(NEW.user_id) > 1004
        OR (
            pg_column_size(NEW.data) > 131072 AND (pg_column_size(NEW.data) > 1048576 OR pg_column_compression(NEW.data) IS NOT NULL)
            AND octet_length(NEW.data::text) > 33554432
        )
    THEN
        RAISE EXCEPTION 'a notification may have 32 MB of text, 32 MB of data as JSON, and a user id of 1000 bytes'
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    RETURN NULL;
END
$$;

-- A row is born once for a user, whatever an UPDATE says, that of logical replication's apply included. Not fired by a stamp, which names neither.
CREATE FUNCTION rowcast.keep_born() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.born := CASE WHEN NEW.user_id IS DISTINCT FROM OLD.user_id THEN pg_current_xact_id() ELSE OLD.born END;
    RETURN NEW;
END
$$;
REVOKE EXECUTE ON FUNCTION rowcast.keep_born() FROM PUBLIC;

CREATE TRIGGER rowcast_keep_born BEFORE UPDATE OF born, user_id ON public.notifications
    FOR EACH ROW EXECUTE FUNCTION rowcast.keep_born();
ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_keep_born;
