-- One stretch of the old end of the log: which rows above `after` may go. One row comes back: their ids (null: none), the greatest seq
-- among them, where the next stretch begins, and whether this one reached the end: the first row that is too young, or the last there is.
-- Parameters: after (a seq), log_end (a seq: nothing above it), cutoff (a time), keep_unread, page (rows looked at, at most), budget (bytes: ends with the row that passes it).
-- Young is what was created between the cutoff and now. What says that it will be created (infinity, a wrong clock) has no age: passed over.
WITH walked AS MATERIALIZED (
    SELECT n.id, n.seq, n.created_at, n.user_id IS NULL OR n.is_viewed OR NOT %(keep_unread)s AS may_go, {size} AS size
    FROM public.notifications AS n
    WHERE n.seq > %(after)s AND n.seq <= %(log_end)s
    ORDER BY n.seq LIMIT %(page)s
), young AS MATERIALIZED (
    SELECT min(seq) AS seq FROM walked WHERE created_at >= %(cutoff)s AND created_at <= clock_timestamp()
), going AS MATERIALIZED (
    SELECT id, seq, sum(size) OVER (ORDER BY seq) - size AS before
    FROM walked
    WHERE may_go AND created_at < %(cutoff)s AND seq < coalesce((SELECT seq FROM young), 9223372036854775807)
), batch AS MATERIALIZED (
    SELECT * FROM going WHERE before < %(budget)s
), cut AS MATERIALIZED (
    SELECT (SELECT count(*) FROM batch) < (SELECT count(*) FROM going) AS short
)
SELECT
    (SELECT array_agg(id ORDER BY id) FROM batch) AS ids,
    (SELECT max(seq) FROM batch) AS upto,
    CASE WHEN cut.short THEN (SELECT max(seq) FROM batch) ELSE coalesce((SELECT max(seq) FROM walked), %(after)s) END AS next_after,
    NOT cut.short AND ((SELECT seq FROM young) IS NOT NULL OR (SELECT count(*) FROM walked) < %(page)s) AS ended
FROM cut
