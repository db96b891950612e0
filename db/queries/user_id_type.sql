-- Tell the first migration of which type user ids are to be.
SELECT set_config('rowcast.user_id_type', %(user_id_type)s, false)
