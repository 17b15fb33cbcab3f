"""Whether this process computes on a GPU: the one place that the choice between forms for CPUs and for GPUs hangs on.

Tests force it (`monkeypatch.setattr(devices, "on_gpu", lambda: True)`), so callers take it from here by its full name.
"""


def on_gpu() -> bool:
    """Whether TensorFlow computes on a GPU here; does not start the devices."""
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))
