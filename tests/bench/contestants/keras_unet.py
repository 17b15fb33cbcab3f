"""CloudMask's U-Net as a user of Keras writes it, with Keras' own `predict_on_batch` and `train_on_batch`.

As the benchmark's reference program has it, but for what its tf.distribute and its pipeline add.
"""

import numpy as np

from tests.bench.contestants.work import PATCHES, SCENE


def unet(channels: int = 9):
    """39 layers, 1,948,609 parameters; [batch, height, width, channels] to the probability of cloud."""
    from tensorflow.keras import Model, layers

    def pair(x, filters):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
            x = layers.ReLU()(x)
        return x

    image = layers.Input((None, None, channels))
    down_1 = pair(image, 32)
    down_2 = pair(layers.MaxPooling2D()(down_1), 64)
    down_3 = pair(layers.MaxPooling2D()(down_2), 128)
    x = pair(layers.MaxPooling2D()(down_3), 256)
    for filters, skipped in ((128, down_3), (64, down_2), (32, down_1)):
        x = pair(layers.Concatenate()([layers.UpSampling2D()(x), skipped]), filters)
    return Model(image, layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(x))


def build(benchmark: str, kind: str, precision: str) -> tuple:
    """(what is called for one unit of work, what it is); for CloudMask only."""
    import tensorflow as tf

    assert benchmark == "cloudmask"
    tf.keras.mixed_precision.set_global_policy(precision)
    network = unet()
    network.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    if kind == "forward":
        scene = rng.normal(size=SCENE).astype(np.float32)
        return lambda: network.predict_on_batch(scene), "Keras, predict_on_batch"
    patches = rng.normal(size=PATCHES).astype(np.float32)
    cloud = rng.integers(0, 2, (*PATCHES[:3], 1)).astype(np.float32)
    return lambda: network.train_on_batch(patches, cloud), "Keras, train_on_batch"
