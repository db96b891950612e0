-- What is told of a row r of rowcast.revocations: times as seconds since 1970.
r.id, r.user_id::text, r.token_id, extract(epoch FROM r.revoked_at)::float8, extract(epoch FROM r.expires_at)::float8
