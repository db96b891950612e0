-- The next revocations above a position, in the order of their commits.
SELECT {revocation} FROM rowcast.revocations AS r WHERE r.id > %(after)s ORDER BY r.id LIMIT %(page)s
