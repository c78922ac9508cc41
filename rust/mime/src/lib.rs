//! Postalynk mime.
