"""Postgres, the log. SQL text lives here and nowhere else, in queries/*.sql and migrations/*.sql.

In: rows that any SQL client inserted. Out: stamped Events, in order.

`connect`     sessions of the bridge, the pool of the web; driver errors become ours at this edge
`queries`     the named statements
`literals`    arrays as Postgres writes them
`locks`       the names of our advisory locks; `leadership` is the leader's
`outbox`      claim: stamp `seq` on the rows that have none, and read a range of bodies
`backlog`     who may pass a long backlog, and for which rows
`readers`     whose rows a statement may see, said to row-level security
`history`     replay: what a stream missed, page by page, each page with last_seq of its own snapshot
`pruning`     the old end of the log: position moved first, then rows deleted, in small batches
`revocations` tokens that are refused before they expire
`inbox`       list, read, insert, mark viewed, delete: the HTTP resources
`revocations` which tokens count no more, in the order of commits

`migrate`     the numbered files of `migrations` under a lock of our own; `ledger` knows which are applied, `ahead` what comes before
`scratch`     a database of a benchmark's own
`survey`      what a server is like and whether it will do; `preflight` asks for bridge and web, `poolers` finds one in the way

May import core.
"""
