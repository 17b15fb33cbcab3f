"""The U-Net, and from a scene to its mask with it."""
