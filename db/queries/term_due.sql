-- Seconds until the server's clock has passed the last seq ever given, a million a second: a term begun before that would run ahead of it, and
-- be begun again where its start was lost. More than 2: the clock was set back, and there is no use in waiting.
SELECT CASE WHEN ahead.seconds BETWEEN 0 AND 2 THEN ahead.seconds ELSE 0 END::float8
FROM (
    SELECT greatest((SELECT last_seq FROM rowcast.state), (SELECT last_value FROM rowcast.seq)) / 1000000
        - extract(epoch FROM clock_timestamp() - timestamptz '2020-01-01 00:00:00+00') AS seconds
) AS ahead
