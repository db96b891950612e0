"""The one place where the parts are put together: `bridge` and `web` over one `start`, `prune`; each imports no more than it needs."""
