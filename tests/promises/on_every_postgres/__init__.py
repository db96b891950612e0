"""Promises that hang on what Postgres does: run on 18 each time, on 15, 16 and 17 too when there is time for it (slow)."""
