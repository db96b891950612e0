"""A model of delivery: the real bridge, fan-out and web in one thread, over a Postgres, a Redis, a network and a clock that are a model's.

In: a seed. Out: what was promised and not kept. docs/model.md says what is modelled and within which bounds.

`loop`      an event loop with a clock of its own, and processes that can be frozen and killed between any two callbacks
`wire`      a connection: what is on its way up and down, held, cut
`postgres`  transactions, locks, snapshots and the statements of db/queries; `claim` is what one claim stamps (pure)
`driver`    psycopg's place over it; `redis` has Redis, and redis-py's place
`seams`     where those are put under the real code, and the sizes that make corners near
`parts`     bridges and web processes; `browser` an EventSource; `writers` who inserts
`steps`     a thing that can happen; `faults` all that can break
`world`     everything there is; `walk` one walk through it by chance; `judge` whether the promise was kept
`broken`    the real code with another text, imported beside it; `rules` each rule and the edit that breaks it

`python -m tests.model --walks N --seed S` walks; `--rules` breaks each rule.
"""
