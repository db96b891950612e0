"""The command `rowcast`: reads the settings, puts the parts together, runs them.

In: flags, environment, signals. Out: processes, and exit status 0 (done), 1 (failed), 2 (wrong usage or settings).

`cli`         which subcommands there are; `commands` has one module for each, `options` their flags
`settings`    every setting, and the only reader of the environment, and of `secret_files`; `logs` how it is told, with what `redaction` leaves
`wiring`      the one place where bridge and web are put together from their parts
`sockets`, `workers`, `signals`   listening, several processes on a port, a clean end
`serving`     HTTP until a bounded end, by the server of one's choice: `on_hypercorn` (`hypercorn_http1`, `hypercorn_http2`), `on_uvicorn`,
              and `unreadable_requests` for what is none
`door`        lets connections in, up to a number; `connections` frees those that nobody reads; `tls` has the certificate

Everything on one machine:
`up`          starts and stops all; `stack` is what it runs, `keeper` replaces what ends, `children` are on a leash
`own_key`, `final_screen`   what tokens are signed with; what a newcomer is told
`folders`, `possession`   whose the data is, and who holds it
`prepared`, `readiness`   children that load first and hear addresses later; waiting until the web is fit
`embedded`    Postgres and Valkey from wheels; never imported by bridge or web
`bench`       what all of it costs; never imported by them either

Talking to a running web:
`address`     where it is; `credentials` what it is shown, of what `minting` makes; `tail` follows a stream, `event_lines` shows it, `terminal` safely

May import everything below.
"""
