"""Data sets: files, the order of samples, reading, caches and batches, the same for every benchmark."""
