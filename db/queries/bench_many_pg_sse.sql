-- As bench_many; its rows for everyone go to user 0, whom all streams then ask for.
INSERT INTO bench.messages (user_id, message)
SELECT coalesce(1 + g %% %(users)s::bigint, 0), 'row ' || g FROM generate_series(0, %(rows)s::bigint - 1) AS g
