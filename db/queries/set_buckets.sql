UPDATE rowcast.state SET buckets = %(buckets)s
