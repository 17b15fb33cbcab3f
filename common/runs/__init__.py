"""A run's folder, what it says about where it came from, and its MLPerf log."""
