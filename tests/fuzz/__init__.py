"""Random input for a running Rowcast, for as long as one likes: `make fuzz SECONDS=1200`.

`parsers` drives the two parsers in this process, `requests` makes bytes for a socket (nearly right requests, broken ones, noise), `attack` sends
them to web processes on both HTTP servers, and `oracle` says what must never come of it. `python -m tests.fuzz` puts them together.
"""
