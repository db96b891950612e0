SELECT coalesce(max(id), 0) FROM bench.messages WHERE user_id = %(user)s
