//! Postalynk smtp.
