"""What goes beyond the benchmark: networks and losses compared, and masks without labels."""
