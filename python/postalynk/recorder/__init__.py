"""Record: `email.events` into the hot projection, whatever happens to PostgreSQL meanwhile."""
