"""What Rowcast costs here: `make bench`. Real servers, a real bridge and web process; figures, never a verdict.

`latency`  INSERT to client over loopback, one row at a time
`drain`    rows of one statement, from its commit to the last client
`writers`  commits per second while all is relayed, against no trigger at all and a plain NOTIFY
`against`  the same for this checkout and another revision, turn about: `make bench ARGS="--against REVISION"`
`faults`   INSERTs with and without each kind of fault (`steady` writers), and how soon it heals (`costs`): `make bench ARGS=--faults`
"""
