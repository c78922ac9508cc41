//! Postalynk delivery.
