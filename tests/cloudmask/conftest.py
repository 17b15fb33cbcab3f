"""The golden scene and network, made once."""

from pathlib import Path

import numpy as np
import pytest

from cloudmask.network import unet
from tests.helpers import GOLDEN, HEIGHT, TINY, WIDTH, run, write_hdf

SEED = 2018


def generator(*key) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([SEED, *key]))


@pytest.fixture(scope="session")
def golden() -> dict:
    return dict(np.load(GOLDEN / f"cloudmask_seed{SEED}.npz"))


@pytest.fixture(scope="session")
def golden_scene(tmp_path_factory) -> str:
    """The scene of 1200 x 1500 pixels that the golden figures were computed on, as a file."""
    coarse = generator(1).random((150, 188, 9)).astype(np.float32)
    values = np.float32(0.9) * coarse.repeat(8, 0).repeat(8, 1)[:1200, :1500]
    values += np.float32(0.1) * generator(2).random((1200, 1500, 9)).astype(np.float32)
    flags = (generator(3).integers(0, 3, (150, 188, 1)) * 2).astype(np.uint8).repeat(8, 0).repeat(8, 1)[:1200, :1500]
    arrays = {"refs": values[..., :6], "bts": 240 + 70 * values[..., 6:], "bayes": flags}
    folder = tmp_path_factory.mktemp("golden")
    return str(write_hdf(folder / "S3A_SL_1_RBT____20180101T000000_golden.hdf", arrays))


def scenes_with_wrong_labels(folder: Path, count: int) -> list[str]:
    """Makes small scenes with one label in five wrong; the settings of a command that takes them and writes there."""
    size = ["--height", HEIGHT, "--width", WIDTH]
    options = ["--folder", folder / "scenes", "--form", "small", "--scenes", count, "--label-error", 0.2, *size]
    assert run("-m", "cloudmask", "synthesize", *options).returncode == 0
    return [*TINY, f"data.train_dir={folder}/scenes", f"output.folder={folder}"]


def set_golden_weights(network) -> None:
    weights = []
    for number, weight in enumerate(network.get_weights()):
        scale = np.float32(np.sqrt(2 / np.prod(weight.shape[:-1]))) if weight.ndim == 4 else np.float32(0.1)
        weights.append(generator(100 + number).standard_normal(weight.shape).astype(np.float32) * scale)
    network.set_weights(weights)


@pytest.fixture
def golden_network():
    network = unet.unet()
    set_golden_weights(network)
    return network
