//! Postalynk python.
