"""`mos-server serve`: the supervised SuperLink, TLS, monitoring, status."""
