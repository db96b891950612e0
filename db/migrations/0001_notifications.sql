-- The table that users insert into, and the log's own state.
-- The type of user ids comes from the setting rowcast.user_id_type (bigint, uuid or text), set by `rowcast migrate`.

CREATE SCHEMA IF NOT EXISTS rowcast;

-- CACHE 1: a session that keeps ids in store would hand out an old id after a newer row was committed, and break the order.
CREATE SEQUENCE public.notifications_id_seq AS bigint CACHE 1;

CREATE TABLE public.notifications (
    id           bigint PRIMARY KEY DEFAULT nextval('public.notifications_id_seq'),
    user_id      bigint,
    key          text,
    message      text NOT NULL,
    channel_type text NOT NULL DEFAULT 'notifications_channel',
    data         jsonb,
    is_viewed    boolean NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL DEFAULT now(),
    seq          bigint,
    is_sent      boolean GENERATED ALWAYS AS (seq IS NOT NULL) STORED
);

ALTER SEQUENCE public.notifications_id_seq OWNED BY public.notifications.id;

COMMENT ON TABLE public.notifications IS 'Insert a row and the browser of its user shows it. user_id NULL: everyone.';
COMMENT ON COLUMN public.notifications.seq IS 'Position in the log, set by the Rowcast bridge; NULL until relayed.';

-- Rows for everyone that a user has viewed. No foreign key: it would make TRUNCATE notifications fail.
CREATE TABLE rowcast.viewed (
    user_id         bigint NOT NULL,
    notification_id bigint NOT NULL,
    PRIMARY KEY (user_id, notification_id)
);

DO $$
DECLARE
    wanted text := coalesce(nullif(current_setting('rowcast.user_id_type', true), ''), 'bigint');
BEGIN
    IF wanted NOT IN ('bigint', 'uuid', 'text') THEN
        RAISE EXCEPTION 'rowcast.user_id_type must be bigint, uuid or text, not %', wanted;
    END IF;
    IF wanted <> 'bigint' THEN
        EXECUTE format('ALTER TABLE public.notifications ALTER COLUMN user_id TYPE %s USING NULL', wanted);
        EXECUTE format('ALTER TABLE rowcast.viewed ALTER COLUMN user_id TYPE %s USING NULL', wanted);
    END IF;
END
$$;

-- Partial, so that a stamp is no key update: the claim then never waits for an open INSERT into a table that references ours.
CREATE UNIQUE INDEX notifications_seq ON public.notifications (seq) WHERE seq IS NOT NULL;
CREATE INDEX notifications_unsequenced ON public.notifications (id) WHERE seq IS NULL;
CREATE INDEX notifications_replay ON public.notifications (user_id, seq) WHERE seq IS NOT NULL;
CREATE INDEX notifications_list ON public.notifications (user_id, id) WHERE seq IS NOT NULL;
CREATE INDEX notifications_unread ON public.notifications (user_id, seq) INCLUDE (id) WHERE NOT is_viewed AND seq IS NOT NULL;
-- The first 200 characters: an index entry has a size limit, and no text a client inserts may make its INSERT fail.
CREATE INDEX notifications_key ON public.notifications (left(key, 200), id) WHERE key IS NOT NULL;

CREATE SEQUENCE rowcast.seq AS bigint CACHE 1;

-- The doorbell's mark: 0 busy (do not ring), 1 waiting (ring). A sequence, because setval is seen at once and locks nothing.
CREATE SEQUENCE rowcast.doorbell AS integer MINVALUE 0 MAXVALUE 1 START 0 CACHE 1;

CREATE TABLE rowcast.state (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    last_seq   bigint NOT NULL DEFAULT 0,
    pruned_seq bigint NOT NULL DEFAULT 0,
    buckets    integer NOT NULL DEFAULT 1 CHECK (buckets BETWEEN 1 AND 16384)
);
COMMENT ON COLUMN rowcast.state.last_seq IS 'The greatest seq ever stamped or started from.';
COMMENT ON COLUMN rowcast.state.pruned_seq IS 'History up to here is no longer whole.';
INSERT INTO rowcast.state DEFAULT VALUES;

-- Rings NOTIFY rowcast, but in mode auto only while the bridge waits: a commit that carries a NOTIFY takes a cluster-wide lock.
-- ALTER DATABASE … SET rowcast.notify = 'always' | 'auto' | 'off'; whatever else stands there means auto.
-- The row's transaction has its xid before this looks at the mark; the bridge's way of falling asleep depends on it.
CREATE FUNCTION rowcast.ring() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mode text := current_setting('rowcast.notify', true);
BEGIN
    IF mode = 'always' OR (mode IS DISTINCT FROM 'off' AND (SELECT d.last_value FROM rowcast.doorbell AS d) = 1) THEN
        NOTIFY rowcast;
    END IF;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION rowcast.ring() FROM PUBLIC;

-- Logical replication's apply writes the publisher's row over ours, seq NULL included: without this the row is delivered twice.
CREATE FUNCTION rowcast.keep_seq() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.seq := OLD.seq;
    RETURN NEW;
END
$$;

-- Row level: a statement trigger misses inserts straight into a partition and logical replication's apply.
CREATE TRIGGER rowcast_ring AFTER INSERT ON public.notifications
    FOR EACH ROW EXECUTE FUNCTION rowcast.ring();
CREATE TRIGGER rowcast_keep_seq BEFORE UPDATE ON public.notifications
    FOR EACH ROW WHEN (OLD.seq IS NOT NULL AND NEW.seq IS NULL) EXECUTE FUNCTION rowcast.keep_seq();
ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_ring;
ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_keep_seq;
