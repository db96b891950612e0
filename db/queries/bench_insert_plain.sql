INSERT INTO bench.plain (user_id, message) VALUES ($1, $2)
