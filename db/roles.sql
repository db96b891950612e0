-- The groups that logins become members of: GRANT rowcast_writer TO your_app. They can't log in themselves.
-- Run by `rowcast migrate --roles`, as often as one likes, by the owner of the tables.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['rowcast_writer', 'rowcast_bridge', 'rowcast_web', 'rowcast_pruner'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
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
GRANT SELECT, UPDATE ON SEQUENCE rowcast.seq, rowcast.doorbell, rowcast.doorbell_until TO rowcast_bridge;
GRANT SELECT ON rowcast._yoyo_migration TO rowcast_bridge;

-- The web reads, inserts what it is sent, marks as viewed, and deletes.
GRANT USAGE ON SCHEMA public, rowcast TO rowcast_web;
GRANT SELECT, DELETE ON public.notifications TO rowcast_web;
GRANT INSERT (user_id, key, message, channel_type, data) ON public.notifications TO rowcast_web;
GRANT UPDATE (is_viewed) ON public.notifications TO rowcast_web;
GRANT USAGE ON SEQUENCE public.notifications_id_seq TO rowcast_web;
GRANT SELECT, INSERT, DELETE ON rowcast.viewed TO rowcast_web;
GRANT SELECT ON rowcast.state, rowcast.terms TO rowcast_web;
GRANT SELECT ON rowcast._yoyo_migration TO rowcast_web;

-- Who lets go of old rows: `rowcast prune`, and a bridge with ROWCAST_RETENTION. UPDATE (is_viewed), because a row to be deleted is locked
-- first, so as to wait for nobody, and Postgres wants a right to update for that.
GRANT USAGE ON SCHEMA public, rowcast TO rowcast_pruner;
GRANT SELECT, DELETE, UPDATE (is_viewed) ON public.notifications TO rowcast_pruner;
GRANT SELECT, UPDATE (pruned_seq) ON rowcast.state TO rowcast_pruner;
GRANT EXECUTE ON FUNCTION rowcast.forget(bigint) TO rowcast_pruner;
GRANT SELECT, DELETE ON rowcast.viewed TO rowcast_pruner;
GRANT SELECT ON rowcast._yoyo_migration TO rowcast_pruner;
