"""Keras models: their files, compiled inference, operation counts and precision."""
