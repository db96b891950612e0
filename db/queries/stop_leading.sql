SELECT pg_advisory_unlock(%(namespace)s, %(leader)s)
