//! Postalynk queue.
