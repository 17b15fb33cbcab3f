"""Timing of repeated work, and of inference over grids of settings."""
