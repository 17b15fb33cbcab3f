"""Commands beside training and inference."""
