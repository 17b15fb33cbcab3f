"""Optimizers, their update rules and the learning rate's schedules."""
