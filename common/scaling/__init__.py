"""Scaling of a training step with the number of ranks: measurement and prediction."""
