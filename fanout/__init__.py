"""Redis, the fan-out. Nothing here matters: wipe it at any time, a hole is noticed and repaired from Postgres.

In: ranges of stamped Events from the bridge. Out: the same Events, and marks, at every web process.

`buckets`       users hashed into buckets, and the names of a bucket's channels
`messages`      the wire form of events and marks (versioned)
`redis_url`     what the URL says: a server, a cluster, Sentinels
`slots`         what a node says of who serves which slot
`connection`    one raw connection to Redis: no retries, no silent reconnect
`sentinels`     who they say the primary is
`reach`         from a URL to a connection, by way of Sentinels if it names some
`nodes`         which node serves which bucket by now
`publisher`     one bucket's way out: bounded queue, batch and mark in one MULTI/EXEC
`wakeup`        one message without a word, and a connection for it alone
`channels`      which channels of a bucket are wanted, asked for, confirmed
`subscription`  one node's way in; says whenever something may have been missed
`subscriptions` all nodes' ways in: buckets move between them

May import core.
"""
