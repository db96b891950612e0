"""Redis, the fan-out. Nothing here matters: wipe it at any time, a hole is noticed and repaired from Postgres.

In: ranges of stamped Events from the bridge. Out: the same Events, and marks, at every web process.

`buckets`       users hashed into buckets, and the names of a bucket's channels
`messages`      the wire form of events and marks (versioned)
`connection`    one raw connection to Redis: no retries, no silent reconnect
`publisher`     one bucket's way out: bounded queue, batch and mark in one MULTI/EXEC
`channels`      which channels are wanted, asked for, confirmed
`subscription`  one node's way in; says whenever something may have been missed

May import core.
"""
