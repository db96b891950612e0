-- The groups that logins become members of: GRANT rowcast_writer TO your_app. They can't log in themselves.
-- Run by `rowcast migrate --roles`, as often as one likes, by the owner of the tables.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['rowcast_writer', 'rowcast_bridge', 'rowcast_web', 'rowcast_pruner'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- roles belong to the whole cluster: somebody made it for another database just now
            END;
        END IF;
    END LOOP;
END
$$;

-- Applications insert, and see nothing. Not id: one chosen by hand may be in the way of one that the sequence gives later.
GRANT USAGE ON SCHEMA public TO rowcast_writer;
GRANT INSERT (user_id, key, message, channel_type, data, is_viewed, created_at) ON public.notifications TO rowcast_writer;
GRANT USAGE ON SEQUENCE public.notifications_id_seq TO rowcast_writer;

-- The bridge reads rows and gives them their place in the log; nobody else may set seq.
GRANT USAGE ON SCHEMA public, rowcast TO rowcast_bridge;
GRANT SELECT, UPDATE (seq) ON public.notifications TO rowcast_bridge;
GRANT SELECT, UPDATE (last_seq) ON rowcast.state TO rowcast_bridge;
GRANT SELECT, INSERT, DELETE ON rowcast.terms TO rowcast_bridge;
GRANT SELECT, DELETE ON rowcast.strays TO rowcast_bridge;
GRANT SELECT, UPDATE ON SEQUENCE rowcast.seq, rowcast.doorbell, rowcast.doorbell_until TO rowcast_bridge;
GRANT SELECT ON rowcast._yoyo_migration TO rowcast_bridge;

-- The web reads, inserts what it is sent, marks as viewed, and deletes. It revokes tokens, and can't take that back.
GRANT USAGE ON SCHEMA public, rowcast TO rowcast_web;
GRANT SELECT, DELETE ON public.notifications TO rowcast_web;
GRANT INSERT (user_id, key, message, channel_type, data) ON public.notifications TO rowcast_web;
GRANT UPDATE (is_viewed) ON public.notifications TO rowcast_web;
GRANT USAGE ON SEQUENCE public.notifications_id_seq TO rowcast_web;
GRANT SELECT, INSERT, DELETE ON rowcast.viewed TO rowcast_web;
GRANT SELECT ON rowcast.state, rowcast.terms, rowcast.revocations TO rowcast_web;
GRANT EXECUTE ON FUNCTION rowcast.revoke(text, text, timestamptz) TO rowcast_web;
DO $$
BEGIN -- its second parameter has the type of user ids
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO rowcast_web', 'rowcast.newest_with_key'::regproc::regprocedure);
END
$$;
GRANT SELECT ON rowcast._yoyo_migration TO rowcast_web;

-- Who lets go of old rows: `rowcast prune`, and a bridge with ROWCAST_RETENTION. UPDATE (is_viewed), because a row to be deleted is locked
-- first, so as to wait for nobody, and Postgres wants a right to update for that.
GRANT USAGE ON SCHEMA public, rowcast TO rowcast_pruner;
GRANT SELECT, DELETE, UPDATE (is_viewed) ON public.notifications TO rowcast_pruner;
GRANT SELECT, UPDATE (pruned_seq) ON rowcast.state TO rowcast_pruner;
GRANT EXECUTE ON FUNCTION rowcast.forget(bigint) TO rowcast_pruner;
GRANT SELECT, DELETE ON rowcast.viewed TO rowcast_pruner;
GRANT SELECT ON rowcast._yoyo_migration TO rowcast_pruner;

-- A second wall around what the web reads, marks and deletes, should one of its queries forget whom it is for: a login in rowcast_web sees the
-- rows of the user that its transaction names (SET LOCAL rowcast."user" = '7'), or of several (rowcast.users = '{7,8}'; '*': of all), and those for
-- everyone; with both empty none. A session that never said either gets an error, not less than there is: a web process from before this
-- would take that for all. Other roles are as free as their grants, or as policies that you had before let them be; the owner and superusers
-- always. Only made if it isn't there: that takes a lock that writers wait for.
DO $$
DECLARE
    ids     text := (SELECT format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = 'public.notifications'::regclass AND a.attname = 'user_id');
    made    text[] := ARRAY(SELECT p.polname FROM pg_catalog.pg_policy AS p WHERE p.polrelid = 'public.notifications'::regclass);
    command text;
    walled  boolean := (SELECT c.relrowsecurity FROM pg_catalog.pg_class AS c WHERE c.oid = 'public.notifications'::regclass);
BEGIN
    -- A SELECT is worked out once a statement and not once a row, but costs the planner time; so does an OR, which it would make much of.
    FOREACH command IN ARRAY ARRAY['SELECT', 'UPDATE', 'DELETE'] LOOP
        IF NOT 'rowcast_web_' || lower(command) = ANY (made) THEN
            EXECUTE pg_catalog.format($policy$
                CREATE POLICY %I ON public.notifications AS RESTRICTIVE FOR %s TO rowcast_web USING (
                    CASE
                        WHEN user_id = (SELECT nullif(current_setting('rowcast.user', current_setting('rowcast.users', true) IS NOT NULL), '')::%s) THEN true
                        WHEN user_id IS NULL THEN current_setting('rowcast.user', current_setting('rowcast.users', true) IS NOT NULL) <> '' OR current_setting('rowcast.users', true) <> ''
                        WHEN current_setting('rowcast.users', true) = '*' THEN true
                        ELSE user_id IN (SELECT unnest(nullif(nullif(current_setting('rowcast.users', true), ''), '*')::%s[]))
                    END
                )
            $policy$, 'rowcast_web_' || lower(command), command, ids, ids);
        END IF;
    END LOOP;
    IF NOT 'rowcast_grants' = ANY (made) THEN
        -- Where row-level security was on already, what it keeps from others it goes on keeping.
        EXECUTE 'CREATE POLICY rowcast_grants ON public.notifications TO '
            || CASE WHEN walled THEN 'rowcast_writer, rowcast_bridge, rowcast_web, rowcast_pruner' ELSE 'PUBLIC' END
            || ' USING (true) WITH CHECK (true)';
    END IF;
    IF NOT walled THEN
        ALTER TABLE public.notifications ENABLE ROW LEVEL SECURITY;
    END IF;
END
$$;
