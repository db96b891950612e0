-- A writer whose NOTIFY finds no room can't commit, and one stalled LISTEN of anybody fills the queue of the whole server.
-- So nobody rings once it is half full: rows are then found by the poll.
CREATE OR REPLACE FUNCTION rowcast.ring() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mode text := current_setting('rowcast.notify', true);
BEGIN
    IF (mode = 'always' OR (mode IS DISTINCT FROM 'off' AND (SELECT d.last_value FROM rowcast.doorbell AS d) = 1))
        AND pg_notification_queue_usage() < 0.5
    THEN
        NOTIFY rowcast;
    END IF;
    RETURN NULL;
END
$$;
