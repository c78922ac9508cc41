"""The hot tier: PostgreSQL as a projection of `email.events`, embedded or by URL."""
