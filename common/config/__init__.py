"""Settings: from YAML files and command-line overrides to frozen, strict, documented models, and back to text."""
