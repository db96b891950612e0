-- One page of a user's relayed rows, newest id first, with the log's end and the unread count in the same snapshot
-- (one row with a null body if the page is empty).
-- Parameters: viewer (the user), upto (the highest id), page (rows at most), budget (bytes: the page ends with the row that passes it).
-- Ordered by user and id, so that only the index of both will do: by id alone, the planner may walk down the primary key through
-- everybody's rows in search of one user's. The row comparison is what an index scan begins at; the pair beside it tells the planner
-- that it is about one user, so that it does not sort all rows of that user, found by another index.
WITH state AS MATERIALIZED (
    SELECT last_seq, {unread} AS unread FROM rowcast.state
), found AS MATERIALIZED (
    SELECT both_kinds.* FROM (
        (
            SELECT n.*, {size} AS size FROM public.notifications AS n
            WHERE (n.user_id, n.id) <= (%(viewer)s, %(upto)s) AND n.user_id <= %(viewer)s AND n.user_id >= %(viewer)s
              AND n.seq IS NOT NULL AND n.seq + 0 <= (SELECT last_seq FROM state)
            ORDER BY n.user_id DESC, n.id DESC LIMIT %(page)s + 1
        )
        UNION ALL
        (
            SELECT n.*, {size} AS size FROM public.notifications AS n
            WHERE n.user_id IS NULL AND n.id <= %(upto)s
              AND n.seq IS NOT NULL AND n.seq + 0 <= (SELECT last_seq FROM state)
            ORDER BY n.user_id DESC, n.id DESC LIMIT %(page)s + 1
        )
    ) AS both_kinds
    ORDER BY both_kinds.id DESC LIMIT %(page)s + 1
), page AS MATERIALIZED (
    {page}
)
SELECT s.last_seq, s.unread, (SELECT count(*) FROM page) < (SELECT count(*) FROM found) AS more, n.id, {row}
FROM state AS s LEFT JOIN page AS n ON true
ORDER BY n.id DESC
