"""How programs start and end, and which benchmarks there are."""
