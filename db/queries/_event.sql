-- The event as the browser gets it, one line of JSON, of a row n of notifications. to_char knows no infinity.
(SELECT row_to_json(e)::text FROM (SELECT
    n.id, n.user_id, n.key, n.message, n.channel_type, n.data,
    coalesce(to_char(n.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), n.created_at::text) AS timestamp
) AS e)
