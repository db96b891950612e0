"""Who is asking, and what they may.

In: the headers of a request. Out: a Caller, or a refusal that says what to do.

`config`   all it is told
`caller`   who asks and what they may (pure)
`headers`  what a request says of who asks: a token, a cookie, a page (pure)
`origins`  may that page act for whoever visits it? (pure)
`gate`     puts these and `tokens` together: request → Caller; `asking` is the gate in Quart
`rules`    what a Caller may do, for whom (pure)
`tokens`   token → Caller, in this order:
`strict_json`  what is in its parts (pure)
`keys`     whose signature: which key is for which algorithm
`jwks`     keys that are published under a URL; `key_set` reads them (pure), `freshness` says for how long they are good (pure)
`claims`   what it says, and whether that holds now (pure)
`revocations`  keeps known which tokens are refused all the same, and ends their streams; `revoked` is what is known (pure)

May import db, fanout, core, and of web what any route may.
"""
