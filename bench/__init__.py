"""Benchmarks for who changes Rowcast, on the tests' own rig; what an operator measures with is `rowcast bench`.

`servers`  HTTP servers and event loops side by side: `python -m bench.servers`; `crowd` is its streams, `on_uvloop` its loop
`table`    a table of millions of rows beside a small one: `python -m bench.table`; `filling` makes both, `plans` shows them
`wall`     what row-level security costs the reads of the web: `python -m bench.wall`
`trigger`  what the trigger alone costs a commit: `python -m bench.trigger`
`limits`   what each part costs for one row, the inputs of docs/scaling.md: `python -m bench.limits`
`against`  the main figures for this checkout and another revision, turn about: `make bench ARGS="--against REVISION"`
`measures` those figures
`faults`   INSERTs with and without each kind of fault (`steady` writers), and how soon it heals (`costs`): `make bench ARGS=--faults`
"""
