INSERT INTO bench.messages (user_id, message) VALUES ($1, $2)
