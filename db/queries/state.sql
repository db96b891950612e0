-- How the log is set up.
SELECT buckets FROM rowcast.state
