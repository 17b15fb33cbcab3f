"""Beyond the benchmark: comparisons of networks and losses, and masks learned without labels."""
