-- Whose rows this transaction is about: what row-level security (roles.sql) lets a login in rowcast_web see.
SELECT set_config('rowcast.user', %(user)s, true), set_config('rowcast.users', %(users)s, true)
