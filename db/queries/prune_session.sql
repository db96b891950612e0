-- What a session that prunes sets beside what every session of ours does. It keeps nobody waiting for the disk, and waits for nobody:
-- what a crash makes of an unflushed deletion is a row that is still there, below a position that was moved before it.
SELECT set_config('synchronous_commit', 'off', false), set_config('lock_timeout', '1s', false)
