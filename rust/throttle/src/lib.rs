//! Postalynk throttle.
