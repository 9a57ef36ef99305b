"""The samplesheet and what it names: checked, ingested, filtered, its genes selected and split."""
