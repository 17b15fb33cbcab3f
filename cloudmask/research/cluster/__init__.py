"""Clouds without labels: what clusters of pixels and a physical rule say, and a network taught by that rule alone."""
