INSERT INTO rowcast.viewed (user_id, notification_id) VALUES (%(viewer)s, %(id)s) ON CONFLICT DO NOTHING
