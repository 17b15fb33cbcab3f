"""Many trainings in one command: which loss learns best from wrong labels, which network is best in a given time."""
