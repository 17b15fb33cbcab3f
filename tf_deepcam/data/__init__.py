"""CAM5 samples: reading, other forms of them, staging to node-local storage."""
