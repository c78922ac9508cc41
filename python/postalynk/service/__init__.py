"""One running Postalynk: what opens first, what closes last, and the socket operators talk to."""
