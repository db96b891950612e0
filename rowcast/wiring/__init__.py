"""The one place where the parts are put together: `bridge` and `web`, each importing no more than it needs, over one `start`."""
