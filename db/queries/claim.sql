-- Stamp the oldest unsequenced rows: candidates → lock → skip → number → update, in one statement (docs/delivery.md tells why so).
-- Parameters: batch (rows), held (user ids left out until the next poll, an array literal), lowest (the lowest id left out, or null),
-- since (a snapshot of which nothing was left but what is held back), everywhere (look at all rows all the same; true if since is null),
-- passing (past a backlog, what `since` shows up to the id `upto`: only rows of the users in `newcomers`, an array literal, who have none in it),
-- log_end (the last seq that this term gave, or null). If the log is not there any more, because a dump was restored under the leader,
-- nothing is stamped: its numbers may have been given to other rows before.
-- One row comes back, whatever was stamped: a frozen client must not be able to stop the server in the middle of a claim.
WITH before AS MATERIALIZED (
    SELECT last_seq, coalesce(last_seq = %(log_end)s::bigint AND (SELECT last_value FROM rowcast.seq) >= %(log_end)s, %(log_end)s IS NULL) AS ours
    FROM rowcast.state
), look AS MATERIALIZED (
    SELECT ours AND everywhere AND NOT %(passing)s AS by_id, ours AND NOT everywhere AS by_birth, ours AND NOT everywhere AND %(passing)s AS passing
    FROM (SELECT ours, %(everywhere)s OR EXISTS (SELECT FROM rowcast.strays) AS everywhere FROM before) AS l
), left_out AS MATERIALIZED (
    -- A subquery is hashed, where an array from outside is searched from end to end for each row. Joined to none of the table's user ids it has
    -- their type, and a length that no plan depends on.
    SELECT unnest(array_cat(%(held)s, (SELECT array_agg(user_id) FROM public.notifications WHERE false))) AS user_id
), recent AS MATERIALIZED (
    -- Rows that are not in the snapshot `since`, whatever entries of stamped rows an old snapshot keeps in the indexes. In no order: more than
    -- a batch of them are left to a claim by id. `NOT is_sent` fits the index on born and not the one by id, which the planner likes as well.
    SELECT n.tableoid AS rel, n.ctid AS tid, n.id, n.user_id
    FROM public.notifications AS n
    WHERE NOT n.is_sent AND (n.user_id IS NULL OR n.user_id NOT IN (SELECT user_id FROM left_out)) AND (SELECT by_birth FROM look)
      AND (NOT %(passing)s OR (n.id <= %(upto)s AND (n.user_id IS NULL OR n.user_id = ANY (%(newcomers)s))))
      AND n.born >= pg_snapshot_xmax(%(since)s::pg_snapshot)
    UNION ALL
    SELECT n.tableoid, n.ctid, n.id, n.user_id
    FROM public.notifications AS n
    WHERE NOT n.is_sent AND (n.user_id IS NULL OR n.user_id NOT IN (SELECT user_id FROM left_out)) AND (SELECT by_birth FROM look)
      AND (NOT %(passing)s OR (n.id <= %(upto)s AND (n.user_id IS NULL OR n.user_id = ANY (%(newcomers)s))))
      AND n.born = ANY (ARRAY(SELECT pg_snapshot_xip(%(since)s::pg_snapshot)))
    UNION ALL
    SELECT n.tableoid, n.ctid, n.id, n.user_id
    FROM public.notifications AS n
    WHERE n.seq IS NULL AND (n.user_id IS NULL OR n.user_id NOT IN (SELECT user_id FROM left_out)) AND (SELECT passing FROM look)
      AND n.id > %(upto)s AND (n.user_id IS NULL OR n.user_id = ANY (%(newcomers)s))
    LIMIT %(batch)s + 1
), seen AS MATERIALIZED (
    (SELECT n.tableoid AS rel, n.ctid AS tid, n.id, n.user_id
    FROM public.notifications AS n
    WHERE n.seq IS NULL AND (n.user_id IS NULL OR n.user_id NOT IN (SELECT user_id FROM left_out)) AND (SELECT by_id FROM look)
    ORDER BY n.id
    LIMIT %(batch)s)
    UNION ALL
    SELECT * FROM recent WHERE (SELECT count(*) FROM recent) <= %(batch)s
), candidates AS MATERIALIZED (
    -- A row for everyone above a row left out stays out, and everything after the first such row with it. None passes a backlog.
    SELECT * FROM seen
    WHERE coalesce(id < (SELECT min(id) FROM seen WHERE user_id IS NULL AND (id > %(lowest)s::bigint OR %(passing)s)), true)
), locked AS MATERIALIZED (
    -- By ctid and nothing else: a row changed since the snapshot then counts as locked.
    SELECT n.tableoid AS rel, n.ctid AS tid
    FROM public.notifications AS n
    WHERE n.ctid = ANY (ARRAY(SELECT tid FROM candidates))
      AND ((n.tableoid, n.ctid) IN (SELECT rel, tid FROM candidates)) IS TRUE
    FOR NO KEY UPDATE OF n SKIP LOCKED
), judged AS MATERIALIZED (
    -- Here and above a subquery that is hashed, not a join: a plan made for a small table would join a thousand rows pair by pair.
    SELECT c.*, ((c.rel, c.tid) NOT IN (SELECT rel, tid FROM locked)) AS skipped FROM candidates AS c
), barrier AS MATERIALIZED (
    -- The first row for everyone that is locked, or comes after any locked row: nothing passes it.
    SELECT min(id) AS id
    FROM judged
    WHERE user_id IS NULL AND id >= (SELECT min(id) FROM judged WHERE skipped)
), numbered AS MATERIALIZED (
    SELECT ordered.rel, ordered.tid, nextval('rowcast.seq') AS seq
    FROM (
        SELECT rel, tid
        FROM (SELECT *, min(id) FILTER (WHERE skipped) OVER (PARTITION BY user_id) AS first_skipped FROM judged) AS j
        WHERE coalesce(id < (SELECT id FROM barrier), true) AND (first_skipped IS NULL OR id < first_skipped)
        ORDER BY id
    ) AS ordered
), stamped AS (
    UPDATE public.notifications AS n SET seq = s.seq
    FROM numbered AS s
    WHERE n.ctid = s.tid AND n.tableoid = s.rel
    RETURNING n.seq
), moved AS (
    UPDATE rowcast.state SET last_seq = s.seq
    FROM (SELECT max(seq) AS seq FROM stamped) AS s
    WHERE s.seq IS NOT NULL
    RETURNING last_seq
), found AS MATERIALIZED (
    SELECT (SELECT count(*) FROM seen) >= %(batch)s OR (SELECT count(*) FROM recent) > %(batch)s AS full_batch,
        (SELECT array_cat(%(held)s, array_agg(DISTINCT user_id)) FROM judged WHERE skipped AND user_id IS NOT NULL)::text AS held,
        least(%(lowest)s::bigint, (SELECT min(id) FROM judged WHERE skipped)) AS lowest
), found_again AS (
    DELETE FROM rowcast.strays WHERE (SELECT by_id FROM look) AND (SELECT NOT full_batch AND lowest IS NULL FROM found)
)
SELECT
    coalesce((SELECT ours FROM before), false) AS ours,
    (SELECT last_value FROM rowcast.doorbell) AS mark,
    (SELECT last_seq FROM before) AS range_start,
    (SELECT last_seq FROM moved) AS range_end,
    (SELECT count(*) FROM stamped) AS stamped,
    (SELECT by_id FROM look) AS by_id,
    found.full_batch,
    found.held,
    found.lowest,
    pg_current_snapshot()::text AS snapshot,
    -- The last column is made last: how long the rows took, triggers on them included. The commit comes after it, however long that takes.
    extract(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
FROM found
