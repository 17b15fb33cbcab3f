"""The networks, and masking of scenes with them."""
