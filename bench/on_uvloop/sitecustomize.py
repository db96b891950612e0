"""Python imports this at its start where this folder is on its path: every event loop is then uvloop's. For `bench.servers`."""

import asyncio

import uvloop

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
