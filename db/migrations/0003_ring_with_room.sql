-- A bridge that dies asleep leaves the doorbell waiting: every writer would go on ringing for nobody, and pay for it, until another one leads.
-- So the mark holds for a while only, and the bridge renews it: until when, in seconds since 1970 by the server's clock. A sequence for the
-- same reasons as the mark itself. After that, and under a bridge that does not know of it yet, rows are found by the poll.
CREATE SEQUENCE rowcast.doorbell_until AS bigint MINVALUE 0 START 0 CACHE 1;

-- And a writer whose NOTIFY finds no room can't commit, while one stalled LISTEN of anybody fills the queue of the whole server.
-- So nobody rings once it is half full: rows are then found by the poll, too.
CREATE OR REPLACE FUNCTION rowcast.ring() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mode text := current_setting('rowcast.notify', true);
BEGIN
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
