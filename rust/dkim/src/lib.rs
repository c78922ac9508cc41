//! Postalynk dkim.
