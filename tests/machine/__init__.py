"""The protocol as small abstract machines, without processes and without the product's code, explored to the last state.

In: bounds, and which rules are kept. Out: how many states there are, and a shortest trace to a broken promise, if there is one.
docs/model.md says what is in the machines and what is not. The walks through the real code are in `tests/model/`.

`rules`     the rules that can be switched off, one by one
`explore`   breadth first over every interleaving; what is looked at in each state, and in all of them
`stamping`  claims: transactions, locks, what is held back (with `tests/model/claim.py`, which a test compares with the real statement)
`leading`   the lock, terms, a failover with a lost tail
`nap`       falling asleep: writers, the doorbell's mark, the bridge's steps
`delivery`  from stamped rows to clients; its states are in `wires`, its steps in
            `publish` (batches, marks, a second leader), `hear` (the hub, its re-reads and its connection), `listen` (streams)
`configurations`  what is explored, within which bounds, and where each rule is found broken

A step whose label begins with `!` need not happen: a fault, or an INSERT. All others do sooner or later.
`python -m tests.machine` explores; `--rules` switches each rule off; `--rules --trace` says how each is found.
"""
