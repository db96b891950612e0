-- Postgres makes no text longer than 1 GB, and JSON makes some values longer than they are stored: control characters.
-- A committed row that can't be read holds up all streams that it and later rows are for; one whose user id no index can hold can't even be
-- stamped, and holds up everybody. So whoever writes such a row is told at once. Sizes as stored cost an INSERT nothing to look at; to write out
-- `data` costs as much as the INSERT itself, and is done only to what is large as it is stored. (A size comes with a header of 4 bytes.)
CREATE FUNCTION rowcast.refuse_size() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- In here and not in a WHEN of the triggers, which Postgres would read and prepare anew for each statement.
    IF octet_length(NEW.message) + octet_length(NEW.channel_type) + coalesce(octet_length(NEW.key), 0) > 33554432
        OR pg_column_size(NEW.user_id) > 1004
        OR (pg_column_size(NEW.data) > 1048576 AND octet_length(NEW.data::text) > 33554432)
    THEN
        RAISE EXCEPTION 'a notification may have 32 MB of text, 32 MB of data as JSON, and a user id of 1000 bytes'
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION rowcast.refuse_size() FROM PUBLIC;

-- After the row, so that whatever other triggers made of it is looked at too; not on a stamp, which changes none of these columns.
CREATE TRIGGER rowcast_size_of_new AFTER INSERT ON public.notifications
    FOR EACH ROW EXECUTE FUNCTION rowcast.refuse_size();
CREATE TRIGGER rowcast_size_of_changed AFTER UPDATE OF user_id, key, message, channel_type, data ON public.notifications
    FOR EACH ROW EXECUTE FUNCTION rowcast.refuse_size();
ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_size_of_new;
ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_size_of_changed;
