"""SLSTR scenes: reading, and the patches that networks are trained on."""
