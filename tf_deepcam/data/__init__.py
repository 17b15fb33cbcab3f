"""CAM5 samples: reading, other file formats, staging to node-local storage."""
