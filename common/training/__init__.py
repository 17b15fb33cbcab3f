"""Training: the step, its state and checkpoints, the loop, its records, and evaluation."""
