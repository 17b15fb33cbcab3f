"""A benchmark that nothing in common/ knows: bright pixels in noise, scored by F1."""
