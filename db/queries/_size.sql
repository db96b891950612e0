-- About how many bytes the event of a row n takes, without unpacking anything.
(octet_length(n.message) + coalesce(octet_length(n.key), 0) + coalesce(pg_catalog.pg_column_size(n.data), 0) + 200)
