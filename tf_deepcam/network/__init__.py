"""DeepLabv3+ and its parts; weights in and out; compiled forms."""
