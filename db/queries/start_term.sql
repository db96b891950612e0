-- Begin a term: the next multiple of 1,000,000 above all that was ever given, by the log, the sequence and the server's clock.
-- Parameter: above (a seq that the caller knows to have been given, whatever the log says now; 0: none).
-- To be begun after the leader lock was granted. Terms of a future that the log has lost go, and those that were pruned.
WITH before AS MATERIALIZED (
    SELECT last_seq FROM rowcast.state
), term AS MATERIALIZED (
    SELECT 1000000 * (1 + greatest(
        (SELECT last_seq FROM before) / 1000000,
        (SELECT last_value FROM rowcast.seq) / 1000000,
        %(above)s::bigint / 1000000,
        floor(extract(epoch FROM clock_timestamp() - timestamptz '2020-01-01 00:00:00+00'))::bigint
    )) AS start
), forgotten AS (
    DELETE FROM rowcast.terms AS t USING rowcast.state AS s WHERE t.start > s.last_seq OR t.start <= s.pruned_seq
), noted AS (
    INSERT INTO rowcast.terms (start, ended) SELECT term.start, before.last_seq FROM term, before
)
UPDATE rowcast.state AS s
SET last_seq = setval('rowcast.seq', term.start)
FROM term, before
RETURNING before.last_seq AS range_start, s.last_seq AS range_end
