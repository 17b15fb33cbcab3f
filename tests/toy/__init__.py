"""A third benchmark: what it takes to add one, and that common/ knows none."""
