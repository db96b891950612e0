-- Tokens that are refused though they have not expired, and the one way to add to them.

-- `id` is a position that readers stand at. It rises in the order of commits, so that whoever has read all up to one misses nothing below, and
-- with the time of day, so that it does not come again should rows be deleted by hand.
CREATE TABLE rowcast.revocations (
    id         bigint PRIMARY KEY,
    user_id    bigint UNIQUE,
    token_id   text UNIQUE,
    revoked_at timestamptz NOT NULL,
    expires_at timestamptz,
    CHECK (num_nonnulls(user_id, token_id) = 1)
);
COMMENT ON TABLE rowcast.revocations IS 'Every token of user_id issued up to revoked_at, or the one whose jti is token_id, is refused.';
COMMENT ON COLUMN rowcast.revocations.expires_at IS 'When these tokens have expired by themselves; NULL: unknown, so the row stays.';

DO $$
DECLARE
    wanted text := (SELECT format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = 'public.notifications'::regclass AND a.attname = 'user_id');
BEGIN
    IF wanted <> 'bigint' THEN
        EXECUTE format('ALTER TABLE rowcast.revocations ALTER COLUMN user_id TYPE %s USING NULL', wanted);
    END IF;
END
$$;

-- Revoke all that a user's tokens, or one token's jti, allow; one of both is NULL. A user or token has one row: the latest takes the place of the
-- one before, and stays as long as either has to.
-- One statement, so that no client that freezes half-way keeps the others waiting; a lock of this table and not an advisory one, which any role
-- could take and keep. Readers don't wait for it, and no caller for longer than 3 s: autovacuum, which holds off writers of this kind, gives way only
-- after deadlock_timeout (1 s). The web calls this and has no other right to write here: it can't take one back.
CREATE FUNCTION rowcast.revoke(the_user text, the_token text, ends_at timestamptz) RETURNS rowcast.revocations
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '3s'
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
REVOKE EXECUTE ON FUNCTION rowcast.revoke(text, text, timestamptz) FROM PUBLIC;
