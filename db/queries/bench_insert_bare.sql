INSERT INTO bench.bare (user_id, message) VALUES ($1, $2)
