"""A run's folder, its records, its MLPerf log, and the environment that its figures come from."""
