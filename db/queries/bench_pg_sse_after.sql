SELECT n.id, {event} FROM bench.messages AS n WHERE n.user_id = %(user)s AND n.id > %(after)s ORDER BY n.id LIMIT 500
