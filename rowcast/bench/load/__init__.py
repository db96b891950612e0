"""The load: processes of their own on raw sockets, so that what is measured is the server and not who asks it.

`processes` processes with a pipe to each
`wire`     what a reader looks for in the bytes of a stream (pure)
`reader`   a process that holds streams open: epoll, one `recv` for each wake, a count of events
`crowd`    all readers together, as the measurements use them
`sessions` sessions with Postgres on libpq's own calls: as many commits as they can, or rows at due times
`writer`   a process of such sessions, and how it is told what to do
"""
