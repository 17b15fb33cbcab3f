"""DeepLabv3+ and its parts, reading and writing weights, and TensorRT."""
