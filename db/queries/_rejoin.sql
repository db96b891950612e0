-- Where the log goes on for who comes with the position a.after, if that lies before a term of leadership and above all that came before it:
-- a position that the log has lost, or never had. Null for every other.
(SELECT t.start FROM (
    SELECT nearest.start, nearest.ended FROM rowcast.terms AS nearest WHERE nearest.start > a.after ORDER BY nearest.start LIMIT 1
) AS t WHERE t.ended < a.after)
