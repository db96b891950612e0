-- Of `found`, newest id first: at most `page` rows, and none after the row that passes `budget` bytes.
SELECT sized.* FROM (
    SELECT found.*, row_number() OVER newest AS place,
        sum(found.size) OVER newest - found.size AS before
    FROM found WINDOW newest AS (ORDER BY found.id DESC ROWS UNBOUNDED PRECEDING)
) AS sized
WHERE sized.place <= %(page)s AND sized.before < %(budget)s
