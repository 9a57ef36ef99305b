"""What happened in a run: what its steps left behind, how each sample ended, what it cost."""
