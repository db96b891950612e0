-- About how many bytes the event of a row n takes, without unpacking anything. Data that is compressed, as Postgres does to what is long, may be
-- anything between as long as it is stored and 90 times that (pglz; 255 times with lz4): taken for what JSON mostly is, so that what is made of a
-- page is eleven times its budget at the very most.
(octet_length(n.message) + coalesce(octet_length(n.key), 0) + 200
    + coalesce(pg_catalog.pg_column_size(n.data) * CASE pg_catalog.pg_column_compression(n.data) WHEN 'pglz' THEN 8 WHEN 'lz4' THEN 24 ELSE 1 END, 0))
