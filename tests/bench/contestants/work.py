"""What is computed by all, [batch, height, width, channels]: a whole scene, a batch of patches, a sample of DeepCAM."""

from tests.bench import cloudmask, deepcam

SCENE = (1, cloudmask.HEIGHT, cloudmask.WIDTH + 4, 9)
PATCHES = (4, 256, 256, 9)
SAMPLE = (1, *deepcam.SHAPE)
