"""The one place where the parts are put together: `bridge`, `web` with `tokens`, `prune`, over one `start`. Each imports what it needs."""
