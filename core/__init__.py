"""What every layer shares, and nothing else.

`events`     Event: the one frozen shape that travels from Postgres to the browser
`user_ids`   a user id in the form Postgres prints it (bigint, uuid or text)
`origins`    web origins, as browsers write them
`durations`  lengths of time as people write them
`errors`     the error tree; each docstring is the sentence shown by default
`clock`      time and chance, handed to whoever needs them
`supervise`  keep one connection alive for ever: connect, run, back off, again
`fail_points` where tests make a process crash, freeze or fail; free when off

Imports nothing of Rowcast.
"""
