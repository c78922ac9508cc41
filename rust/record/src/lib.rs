//! Postalynk record.
