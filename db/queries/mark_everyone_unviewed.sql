DELETE FROM rowcast.viewed AS v WHERE v.user_id = %(viewer)s AND v.notification_id = %(id)s
