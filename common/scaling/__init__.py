"""How a training step scales over ranks: measured, and predicted."""
