-- Letting go of history, and saying so: pruned_seq is moved before or with whatever takes rows out of the log.

-- Say that the log up to `upto` is no longer whole, before its rows go; a client below is told so (`event: reset`, reason `pruned`).
-- Never moves back, never beyond the log's end. Returns how far history is gone; null for null, which moves nothing.
CREATE FUNCTION rowcast.forget(upto bigint) RETURNS bigint
    LANGUAGE plpgsql STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE rowcast.state SET pruned_seq = least(upto, last_seq) WHERE pruned_seq < least(upto, last_seq);
    RETURN (SELECT pruned_seq FROM rowcast.state);
END
$$;
REVOKE EXECUTE ON FUNCTION rowcast.forget(bigint) FROM PUBLIC;

-- TRUNCATE empties the log: nobody may take what is then missing for nothing that came.
CREATE FUNCTION rowcast.truncated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE rowcast.state SET pruned_seq = last_seq;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION rowcast.truncated() FROM PUBLIC;

CREATE TRIGGER rowcast_truncated AFTER TRUNCATE ON public.notifications
    FOR EACH STATEMENT EXECUTE FUNCTION rowcast.truncated();
ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_truncated;
