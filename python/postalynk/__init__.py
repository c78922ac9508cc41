"""Postalynk: the email delivery engine that platform teams run."""

__version__ = "0.1.0"
