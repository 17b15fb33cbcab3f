"""Clouds without labels: a physical rule, and a network taught by that rule alone."""
