"""From run folders and MLPerf logs to the tables and curves that people compare."""
