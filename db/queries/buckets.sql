SELECT buckets FROM rowcast.state
