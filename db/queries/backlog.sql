-- Whom the rows are for that wait to be stamped, but for the newest: a snapshot as text; the id that all but the newest `tail` rows are up to;
-- and a hash of each user who has one of those. Null hashes: some are for everyone, or there are more than `rows` of them, or for more than
-- `users`. One row, whose size has a bound.
WITH cut AS MATERIALIZED (
    SELECT coalesce(
        (SELECT n.id FROM public.notifications AS n WHERE n.seq IS NULL ORDER BY n.id DESC OFFSET %(tail)s LIMIT 1), -9223372036854775808
    ) AS id
), users AS MATERIALIZED (
    SELECT w.user_id, count(*) AS rows
    FROM (
        SELECT n.user_id FROM public.notifications AS n
        WHERE n.seq IS NULL AND n.id + 0 <= (SELECT id FROM cut) -- no condition for an index, or the one on all ids might do as well
        ORDER BY n.id LIMIT %(rows)s + 1
    ) AS w
    GROUP BY w.user_id
)
SELECT
    pg_current_snapshot()::text AS snapshot,
    (SELECT id FROM cut) AS upto,
    CASE
        WHEN (SELECT coalesce(sum(rows), 0) <= %(rows)s AND count(*) <= %(users)s AND coalesce(bool_and(user_id IS NOT NULL), true) FROM users)
        THEN ARRAY(SELECT hashtextextended(user_id::text, 0) FROM users)
    END AS hashes
