"""The training loop: a step, its state and checkpoints, what is recorded, evaluation."""
