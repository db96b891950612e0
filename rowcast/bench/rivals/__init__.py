"""What Rowcast is compared with, each a process of its own that reads the same settings.

`bare`    an ASGI endpoint with nothing behind it, on the same HTTP server: told what to write by datagrams, or by a plain NOTIFY
`ceiling` raw sockets that only answer: what the load itself can do
`pg_sse`  the package of that name, if it is installed

All take `GET /events/<user>` and answer /readyz. `bare` and `ceiling` write to all streams what comes as a datagram to the port of the
same number, which costs next to nothing; what `bare` is to write at the start of each stream is posted to /missed.
"""
