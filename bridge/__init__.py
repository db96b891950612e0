"""The bridge: one leader stamps new rows and publishes them, any number of followers wait to take over.

In: the doorbell (NOTIFY) and the table. Out: batches and marks for every bucket of Redis.

`listener`   LISTEN on a session of its own; rings the bell
`bell`       the bell, and whether anybody would hear it
`leader`     follower and leader: who holds the advisory lock, stamps
`sequencer`  one turn after another: stamp, or fall asleep without missing a row
`stamper`    claim, hand over what was stamped; what the next claim leaves out, and where it looks
`passing`    who may pass a long backlog
`walk`       how far claims go past locked rows before they begin again: pure
`batch`      how many rows a claim may stamp, by what the last ones took: pure
`nap`        the decision when it is safe to sleep: pure
`relay`      read a stamped range on a third session, cut it into batches, offer them to the publishers
`pruner`     beside a leader, on a session of its own: lets go of the old end of the log, if it is told to
`service`    follow, lead, follow again: one TaskGroup over all of it
`health`     /healthz and /readyz, if asked for; `config` is all the bridge is told

May import core, db and fanout.
"""
