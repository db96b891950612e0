-- What the migrations add up to: never edited by hand, compared with them by a test. To see it, not to run it: `rowcast migrate` also
-- keeps the ledger of migrations and puts the one row into rowcast.state. Written by `python -m tests.db.schema`.
-- The type of user ids is a variable of psql: `psql -v user_id_type=bigint` (or uuid, or text).

CREATE SCHEMA rowcast;

CREATE FUNCTION rowcast.forget(upto bigint) RETURNS bigint
    LANGUAGE plpgsql STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    UPDATE rowcast.state SET pruned_seq = least(upto, last_seq) WHERE pruned_seq < least(upto, last_seq);
    RETURN (SELECT pruned_seq FROM rowcast.state);
END
$$;

CREATE FUNCTION rowcast.keep_born() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    NEW.born := CASE WHEN NEW.user_id IS DISTINCT FROM OLD.user_id THEN pg_current_xact_id() ELSE OLD.born END;
    RETURN NEW;
END
$$;

CREATE FUNCTION rowcast.keep_seq() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    NEW.seq := OLD.seq;
    RETURN NEW;
END
$$;

CREATE FUNCTION rowcast.newest_with_key(the_key text, user_id :user_id_type) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
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

CREATE FUNCTION rowcast.refuse_size() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
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

CREATE TABLE rowcast.revocations (
    id bigint NOT NULL,
    user_id :user_id_type,
    token_id text,
    revoked_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT revocations_check CHECK ((num_nonnulls(user_id, token_id) = 1))
);

COMMENT ON TABLE rowcast.revocations IS 'Every token of user_id issued up to revoked_at, or the one whose jti is token_id, is refused.';

COMMENT ON COLUMN rowcast.revocations.expires_at IS 'When these tokens have expired by themselves; NULL: unknown, so the row stays.';

CREATE FUNCTION rowcast.revoke(the_user text, the_token text, ends_at timestamp with time zone) RETURNS rowcast.revocations
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '3s'
    AS $$
DECLARE
    made    rowcast.revocations;
    earlier rowcast.revocations;
    highest bigint;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true); -- for what is answered to be true after a crash too
    END IF;
    LOCK TABLE rowcast.revocations IN SHARE ROW EXCLUSIVE MODE;
    made.user_id := the_user;
    made.token_id := the_token;
    made.revoked_at := clock_timestamp();
    made.expires_at := ends_at;
    highest := (SELECT max(r.id) FROM rowcast.revocations AS r);
    made.id := greatest(highest + 1, (extract(epoch FROM made.revoked_at) * 1000000)::bigint);
    -- An hour, because other clocks than this one decide whether a token has expired.
    DELETE FROM rowcast.revocations AS r WHERE r.expires_at < made.revoked_at - interval '1 hour' AND r.id < highest;
    DELETE FROM rowcast.revocations AS r WHERE r.user_id = made.user_id OR r.token_id = made.token_id RETURNING r.* INTO earlier;
    IF earlier.id IS NOT NULL THEN
        made.revoked_at := greatest(made.revoked_at, earlier.revoked_at);
        -- greatest() would pass over a NULL, which here is for ever.
        made.expires_at := CASE WHEN num_nulls(ends_at, earlier.expires_at) = 0 THEN greatest(ends_at, earlier.expires_at) END;
    END IF;
    INSERT INTO rowcast.revocations VALUES (made.*);
    RETURN made;
END
$$;

CREATE FUNCTION rowcast.ring() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
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

CREATE FUNCTION rowcast.truncated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    UPDATE rowcast.state SET pruned_seq = last_seq;
    RETURN NULL;
END
$$;

CREATE TABLE public.notifications (
    id bigint NOT NULL,
    user_id :user_id_type,
    key text,
    message text NOT NULL,
    channel_type text DEFAULT 'notifications_channel'::text NOT NULL,
    data jsonb,
    is_viewed boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    seq bigint,
    is_sent boolean GENERATED ALWAYS AS ((seq IS NOT NULL)) STORED,
    born xid8 DEFAULT pg_current_xact_id()
);

COMMENT ON TABLE public.notifications IS 'Insert a row and the browser of its user shows it. user_id NULL: everyone.';

COMMENT ON COLUMN public.notifications.seq IS 'Position in the log, set by the Rowcast bridge; NULL until relayed.';

COMMENT ON COLUMN public.notifications.born IS 'The transaction that inserted the row; set by default, leave it alone.';

CREATE SEQUENCE public.notifications_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.notifications_id_seq OWNED BY public.notifications.id;

CREATE SEQUENCE rowcast.doorbell
    AS integer
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    MAXVALUE 1
    CACHE 1;

CREATE SEQUENCE rowcast.doorbell_until
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;

CREATE SEQUENCE rowcast.seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE rowcast.state (
    singleton boolean DEFAULT true NOT NULL,
    last_seq bigint DEFAULT 0 NOT NULL,
    pruned_seq bigint DEFAULT 0 NOT NULL,
    buckets integer DEFAULT 1 NOT NULL,
    CONSTRAINT state_buckets_check CHECK (((buckets >= 1) AND (buckets <= 16384))),
    CONSTRAINT state_singleton_check CHECK (singleton)
);

COMMENT ON COLUMN rowcast.state.last_seq IS 'The greatest seq ever stamped or started from.';

COMMENT ON COLUMN rowcast.state.pruned_seq IS 'History up to here is no longer whole.';

CREATE TABLE rowcast.strays (
    xid xid8 NOT NULL
);

COMMENT ON TABLE rowcast.strays IS 'Transactions that inserted notifications whose column born names another one.';

CREATE TABLE rowcast.terms (
    start bigint NOT NULL,
    ended bigint NOT NULL
);

COMMENT ON TABLE rowcast.terms IS 'Terms of leadership: the seq that each starts from, and the last one before it.';

CREATE TABLE rowcast.viewed (
    user_id :user_id_type NOT NULL,
    notification_id bigint NOT NULL
);

ALTER TABLE ONLY public.notifications ALTER COLUMN id SET DEFAULT nextval('public.notifications_id_seq'::regclass);

ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT notifications_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowcast.revocations
    ADD CONSTRAINT revocations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY rowcast.revocations
    ADD CONSTRAINT revocations_token_id_key UNIQUE (token_id);

ALTER TABLE ONLY rowcast.revocations
    ADD CONSTRAINT revocations_user_id_key UNIQUE (user_id);

ALTER TABLE ONLY rowcast.state
    ADD CONSTRAINT state_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY rowcast.strays
    ADD CONSTRAINT strays_pkey PRIMARY KEY (xid);

ALTER TABLE ONLY rowcast.terms
    ADD CONSTRAINT terms_pkey PRIMARY KEY (start);

ALTER TABLE ONLY rowcast.viewed
    ADD CONSTRAINT viewed_pkey PRIMARY KEY (user_id, notification_id);

CREATE INDEX notifications_born ON public.notifications USING btree (born) WHERE (NOT is_sent);

CREATE INDEX notifications_key ON public.notifications USING btree ("left"(key, 200), id) WHERE (key IS NOT NULL);

CREATE INDEX notifications_list ON public.notifications USING btree (user_id, id) WHERE (seq IS NOT NULL);

CREATE INDEX notifications_replay ON public.notifications USING btree (user_id, seq) WHERE (seq IS NOT NULL);

CREATE UNIQUE INDEX notifications_seq ON public.notifications USING btree (seq) WHERE (seq IS NOT NULL);

CREATE INDEX notifications_unread ON public.notifications USING btree (user_id, seq) INCLUDE (id) WHERE ((NOT is_viewed) AND (seq IS NOT NULL));

CREATE INDEX notifications_unsequenced ON public.notifications USING btree (id) WHERE (seq IS NULL);

CREATE TRIGGER rowcast_keep_born BEFORE UPDATE OF born, user_id ON public.notifications FOR EACH ROW EXECUTE FUNCTION rowcast.keep_born();

ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_keep_born;

CREATE TRIGGER rowcast_keep_seq BEFORE UPDATE ON public.notifications FOR EACH ROW WHEN (((old.seq IS NOT NULL) AND (new.seq IS NULL))) EXECUTE FUNCTION rowcast.keep_seq();

ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_keep_seq;

CREATE TRIGGER rowcast_ring AFTER INSERT ON public.notifications FOR EACH ROW EXECUTE FUNCTION rowcast.ring();

ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_ring;

CREATE TRIGGER rowcast_size_of_changed AFTER UPDATE OF user_id, key, message, channel_type, data ON public.notifications FOR EACH ROW EXECUTE FUNCTION rowcast.refuse_size();

ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_size_of_changed;

CREATE TRIGGER rowcast_truncated AFTER TRUNCATE ON public.notifications FOR EACH STATEMENT EXECUTE FUNCTION rowcast.truncated();

ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER rowcast_truncated;

REVOKE ALL ON FUNCTION rowcast.forget(upto bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.keep_born() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.keep_seq() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.newest_with_key(the_key text, user_id :user_id_type) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.refuse_size() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.revoke(the_user text, the_token text, ends_at timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.ring() FROM PUBLIC;

REVOKE ALL ON FUNCTION rowcast.truncated() FROM PUBLIC;
