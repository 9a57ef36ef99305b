"""What a step computes, from AnnData to AnnData; scripts and benchmarks call it."""
