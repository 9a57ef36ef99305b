"""What several tests build or read."""
