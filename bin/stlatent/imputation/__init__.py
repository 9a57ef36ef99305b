"""Expression of every gene at every location."""
