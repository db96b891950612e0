-- One page of who viewed which row for everyone, without those whose row is gone. One row comes back, none after the last page: the page's
-- last entry, by which the next is asked for, and how many went. Parameters: user_id, id (of that entry; null: from the start), page.
-- A subquery and places, not joins: a planner would walk through all rows, or all entries, for one page.
WITH page AS MATERIALIZED (
    SELECT v.ctid AS tid, v.user_id, v.notification_id,
        (SELECT n.id FROM public.notifications AS n WHERE n.id = v.notification_id) IS NULL AS orphaned
    FROM rowcast.viewed AS v
    WHERE (v.user_id, v.notification_id) > (%(user_id)s, %(id)s) OR %(user_id)s IS NULL
    ORDER BY v.user_id, v.notification_id LIMIT %(page)s
), gone AS (
    DELETE FROM rowcast.viewed AS v WHERE v.ctid = ANY (ARRAY(SELECT page.tid FROM page WHERE page.orphaned)) RETURNING v.notification_id
)
SELECT page.user_id::text, page.notification_id, (SELECT count(*) FROM gone)
FROM page ORDER BY page.user_id DESC, page.notification_id DESC LIMIT 1
