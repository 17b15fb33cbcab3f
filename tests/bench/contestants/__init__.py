"""Programs for the same work as ours, each measured in a process of its own (tests/bench/rivals.py)."""
