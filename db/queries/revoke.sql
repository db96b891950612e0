-- Revoke a user's tokens or one token; the row that says so.
SELECT {revocation} FROM rowcast.revoke(%(user_id)s, %(token_id)s, to_timestamp(%(expires_at)s::float8)) AS r
