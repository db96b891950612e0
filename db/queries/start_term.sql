-- Begin a term: the next multiple of 1,000,000 above all that was ever given, by the log, the sequence and the server's clock.
-- To be begun after the leader lock was granted.
WITH before AS MATERIALIZED (
    SELECT last_seq FROM rowcast.state
), term AS MATERIALIZED (
    SELECT 1000000 * (1 + greatest(
        (SELECT last_seq FROM before) / 1000000,
        (SELECT last_value FROM rowcast.seq) / 1000000,
        floor(extract(epoch FROM clock_timestamp() - timestamptz '2020-01-01 00:00:00+00'))::bigint
    )) AS start
)
UPDATE rowcast.state AS s
SET last_seq = setval('rowcast.seq', term.start)
FROM term, before
RETURNING before.last_seq AS range_start, s.last_seq AS range_end
