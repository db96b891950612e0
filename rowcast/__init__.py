"""The command `rowcast`: reads the settings, puts the parts together, runs them.

In: flags, environment, signals. Out: processes, and exit status 0 (done), 1 (failed), 2 (wrong usage or settings).

`cli`         which subcommands there are; `commands` has one module for each, `options` their flags
`settings`    every setting, and the only reader of the environment; `logs` how it is told
`wiring`      the one place where bridge and web are put together from their parts
`sockets`, `serving`, `workers`, `signals`   listening, HTTP, several processes on a port, a clean end

Everything on one machine:
`up`          starts and stops all; `stack` is what it runs, `keeper` replaces what ends, `children` are on a leash
`folders`, `possession`   whose the data is, and who holds it
`prepared`, `readiness`   children that load first and hear addresses later; waiting until the web is fit
`embedded`    Postgres and Valkey from wheels; never imported by bridge or web

Talking to a running web:
`address`     where it is; `tail` follows a stream, `event_lines` shows it

May import everything below.
"""
