//! Postalynk dns.
