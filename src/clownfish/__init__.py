"""clownfish."""
