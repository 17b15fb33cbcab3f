"""Pixels in clusters by colour, temperature and texture; a cluster is cloud where its middle is cold or bright.

Mini-batch k-means (Sculley, "Web-Scale K-Means Clustering", WWW 2010) as scikit-learn has it, on the nine normalised
channels and the standard deviation of three of them around each pixel: clouds are rougher than sea and snow.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from sklearn.cluster import MiniBatchKMeans

from cloudmask.cluster.rule import judge
from cloudmask.experiments import ClusterSettings

_TEXTURE = (0, 4, 7)  # channels S1, S5, S8
_WINDOW = 5  # pixels across


def features(image: np.ndarray) -> np.ndarray:
    """[H, W, 9] normalised to [H, W, 12] float32: the channels, and the local standard deviation of three."""
    chosen = image[..., _TEXTURE].astype(np.float64)
    size = (_WINDOW, _WINDOW, 1)
    mean, square = ndimage.uniform_filter(chosen, size), ndimage.uniform_filter(chosen**2, size)
    rough = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.concatenate([image, rough.astype(np.float32)], axis=-1)


@dataclass(frozen=True)
class Clusters:
    """mean, scale: [12] of the features that were fitted on. cloud: [clusters] bool, their names."""

    model: MiniBatchKMeans
    mean: np.ndarray
    scale: np.ndarray
    cloud: np.ndarray

    def of(self, image: np.ndarray) -> np.ndarray:
        """The cluster of each pixel of [H, W, 9], [H, W] int32."""
        values = features(image)
        flat = (values.reshape(-1, values.shape[-1]) - self.mean) / self.scale
        return self.model.predict(flat.astype(np.float32)).reshape(image.shape[:2])


def fit(pixels: np.ndarray, settings: ClusterSettings) -> Clusters:
    """pixels: features [n, 12] of measured ones."""
    mean, scale = pixels.mean(0), np.maximum(pixels.std(0), 1e-6)
    model = MiniBatchKMeans(settings.clusters, random_state=settings.seed, batch_size=4096, n_init=3)
    number = model.fit_predict((pixels - mean) / scale)
    channels = pixels[:, : -len(_TEXTURE)]
    middles = np.stack([_middle(channels[number == each]) for each in range(settings.clusters)])
    return Clusters(model, mean.astype(np.float32), scale.astype(np.float32), judge(middles, settings).cloud)


def _middle(pixels: np.ndarray) -> np.ndarray:
    """Their median by channel: the mean of a cluster of night pixels and some others would lie between, where neither
    is. Zeros, which are clear, of a cluster without pixels."""
    return np.median(pixels, axis=0) if len(pixels) else np.zeros(pixels.shape[1], np.float32)
