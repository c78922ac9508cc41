//! Postalynk testkit.
