"""The web: streams of events, and the rows as HTTP resources.

In: Events that the hub hears from Redis, rows that db/ reads from Postgres. Out: HTTP.

The streams, in the order of an event:
`bucket`      one bucket's position: what is handed out, what is a hole, and re-reads Postgres over it
`hub`         one subscription → its buckets → the mailboxes of open streams
`lag`         is a bucket behind the log although something arrives? (pure)
`mailbox`     the bounded queue of one stream
`stream`      one browser: backlog, then live, joined by seq
`sse`         the encoder (pure)

The resources:
`incoming`    the request, read to its end even when it is refused
`params`, `body`, `models`   what came in by URL and body: checked, or refused with a sentence
`routes`      one module for each resource, each makes a blueprint
`answers`, `problems`   JSON out; every error as RFC 9457 problem+json
`schemas`, `openapi`    the document that the tests drive the app by; `templates/docs.html` shows it
`assets`      the files in `static/`

`config`      all the web is told; `app` puts it together; `waiting_room` answers before it can

May import db, fanout, core.
"""
