-- Of `found`, newest id first: at most `page` rows, and none after the row that passes `budget` bytes.
SELECT sized.id, sized.body FROM (
    SELECT found.id, found.body, row_number() OVER newest AS place,
        sum(octet_length(found.body)) OVER newest - octet_length(found.body) AS before
    FROM found WINDOW newest AS (ORDER BY found.id DESC ROWS UNBOUNDED PRECEDING)
) AS sized
WHERE sized.place <= %(page)s AND sized.before < %(budget)s
