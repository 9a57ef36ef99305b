"""One file a chapter of the report."""
