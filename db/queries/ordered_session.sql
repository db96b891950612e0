-- For a session that reads pages of many streams at once: what is planned for them all must not collect and sort the long history of one.
SELECT set_config('enable_bitmapscan', 'off', false)
