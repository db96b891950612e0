SELECT pg_advisory_unlock(%(namespace)s, %(lock)s)
