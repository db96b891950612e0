-- A short wait, kept by the server.
SELECT pg_sleep(0.2)
