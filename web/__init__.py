"""The web: streams of events, and the rows as HTTP resources.

In: Events that the hub hears from Redis, rows that db/ reads from Postgres. Out: HTTP.

The streams, in the order of an event:
`bucket`      one bucket's position: what is handed out, what is a hole, and re-reads Postgres over it
`hub`         one subscription → its buckets → the mailboxes of open streams
`lag`         is a bucket behind the log although something arrives? (pure)
`mailbox`     the bounded queue of one stream
`gathering`   which streams are woken at once, and which gather events for one write
`backlogs`    what streams read from Postgres, in batches
`heartbeats`  one timer wheel: wakes streams that have been quiet for long
`expiry`      ends a stream when its token ends
`stream`      one browser: backlog, then live, joined by seq
`sse`         the encoder (pure)

Who is asking: `auth`, a package with a map of its own. From where, and not for too much:
`admission`   before all else: the caps of an address; `addresses` says which it is, behind proxies too (pure)
`limiter`, `open_streams`    what the caps count
`refusals`    caps that were reached: counted, and told once a minute

The resources:
`heads`, `incoming`, `leaving`   the request: its head bounded, and read to its end even when it is refused
`params`, `body`, `models`   what came in by URL and body: checked, or refused with a sentence
`routes`      one module for each resource, each makes a blueprint
`answers`, `problems`   JSON out; every error as RFC 9457 problem+json
`hardening`   headers of every answer: what a browser may make of it, and which other pages may read it
`request_ids` which request and connection a line of the log is about
`schemas`, `operations`, `openapi`    the document that the tests drive the app by; `templates/docs.html` shows it
`assets`      the files in `static/`

`config`      all the web is told; `app` puts it together, `front` stands before it and answers the streams; `waiting_room` answers before it can

May import db, fanout, core.
"""
