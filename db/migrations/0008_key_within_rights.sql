-- Which row is the newest with a key, for roles that row-level security limits: they can't use the index, because left() might tell what it sees.
-- It tells an id and no more; the row is then read within their own rights.
CREATE FUNCTION rowcast.newest_with_key(the_key text, user_id public.notifications.user_id%TYPE) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF newest_with_key.user_id IS NULL THEN -- nobody in particular, to whom all rows count
        RETURN (
            SELECT n.id FROM public.notifications AS n
            WHERE left(n.key, 200) = left(the_key, 200) AND n.key = the_key
            ORDER BY n.id DESC LIMIT 1
        );
    END IF;
    RETURN greatest(
        (
            SELECT n.id FROM public.notifications AS n
            WHERE n.user_id = newest_with_key.user_id AND left(n.key, 200) = left(the_key, 200) AND n.key = the_key
            ORDER BY n.id DESC LIMIT 1
        ),
        (
            SELECT n.id FROM public.notifications AS n
            WHERE n.user_id IS NULL AND left(n.key, 200) = left(the_key, 200) AND n.key = the_key
            ORDER BY n.id DESC LIMIT 1
        )
    );
END
$$;
DO $$
BEGIN -- its second parameter has the type of user ids
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', 'rowcast.newest_with_key'::regproc::regprocedure);
END
$$;

-- Like the other functions of triggers: called by nobody.
REVOKE EXECUTE ON FUNCTION rowcast.keep_seq() FROM PUBLIC;
