"""Files of networks from strangers: nothing in them is run, and only their arrays are taken."""

import contextlib
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cloudmask import config as cloudmask_config
from cloudmask.network import networks, unet
from common.errors import UserError
from common.keras import files as keras_files
from common.keras.files import layer_settings, load_weights
from tests.versions import OWN_KERAS_FILES
from tf_deepcam.config import ModelSettings
from tf_deepcam.network import deeplab, trained, weights


def small() -> tf.keras.Model:
    inputs = tf.keras.layers.Input((4, 4, 2))
    return tf.keras.Model(inputs, tf.keras.layers.Conv2D(3, 3)(inputs))


def test_a_network_that_cannot_be_described_is_refused_and_a_derived_channel_is_not():
    inputs = tf.keras.layers.Input((4, 4, 9))
    keras_files.check_saving(tf.keras.Model(inputs, inputs[:, :, :, 6:7] - inputs[:, :, :, 7:8]))
    with pytest.raises(
        UserError, match=r"cannot be saved, so it is not trained: .*Ellipsis.*write a slice with every axis"
    ):
        keras_files.check_saving(tf.keras.Model(inputs, inputs[..., 6:7] - inputs[..., 7:8]))


def call_of(mark: Path) -> dict:
    """A layer that is TensorFlow's write_file, called with the name MARK when the network is built."""
    return {
        "module": "keras.layers",
        "class_name": "TFOpLambda",
        "config": {"name": "exploit", "trainable": True, "dtype": "float32", "function": "io.write_file"},
        "registered_name": "TFOpLambda",
        "name": "exploit",
        "inbound_nodes": [["_CONSTANT_VALUE", -1, str(mark), {"contents": "written"}]],
    }


def with_exploit(source: Path, target: Path, mark: Path) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                tree = json.loads(content)
                tree["config"]["layers"].append(call_of(mark))
                content = json.dumps(tree).encode()
            new.writestr(name, content)
    return target


@OWN_KERAS_FILES
def test_a_keras_file_that_would_run_a_program_gives_its_weights_and_runs_nothing(tmp_path):
    network, mark = unet.unet(), tmp_path / "mark"
    keras_files.save(network, tmp_path / "good.keras")
    bad = with_exploit(tmp_path / "good.keras", tmp_path / "bad.keras", mark)
    with contextlib.suppress(Exception):  # whatever it raises afterwards: Keras itself runs the program
        tf.keras.models.load_model(bad)
    assert mark.exists()
    mark.unlink()
    loaded = networks.load(cloudmask_config.ModelSettings(), str(bad))
    assert not mark.exists()
    np.testing.assert_array_equal(loaded.get_weights()[4], network.get_weights()[4])


def test_the_same_for_deepcam(tmp_path):
    network, mark = deeplab.deeplab(width=0.05, middle_blocks=1), tmp_path / "mark"
    keras_files.save(network, tmp_path / "good.keras")
    bad = with_exploit(tmp_path / "good.keras", tmp_path / "bad.keras", mark)
    loaded = trained.load(str(bad), ModelSettings(), 16)
    assert not mark.exists()
    np.testing.assert_array_equal(loaded.get_weights()[4], network.get_weights()[4])


def test_an_h5_file_with_a_lambda_runs_nothing(tmp_path):
    mark = tmp_path / "mark"
    inputs = tf.keras.layers.Input((4, 4, 2))
    code = tf.keras.layers.Lambda(lambda x, mark=str(mark): (__import__("os").system(f"touch {mark}"), x)[1])
    tf.keras.Model(inputs, tf.keras.layers.Conv2D(3, 3)(code(inputs))).save(tmp_path / "bad.h5")
    mark.unlink()
    network = small()
    load_weights(network, tmp_path / "bad.h5")
    assert not mark.exists()


@pytest.mark.parametrize("form", ["keras", "h5", "tf"])
@pytest.mark.filterwarnings("ignore")
def test_weights_of_another_shape_are_refused(tmp_path, form):
    name = {"keras": "x.keras", "h5": "x.h5", "tf": "saved"}[form]
    small().save(tmp_path / name, save_format=form)
    inputs = tf.keras.layers.Input((4, 4, 2))
    other = tf.keras.Model(inputs, tf.keras.layers.Conv2D(5, 3)(inputs))
    before = other.get_weights()
    with pytest.raises(UserError, match="holds no weights of this network"):
        load_weights(other, tmp_path / name)
    np.testing.assert_array_equal(other.get_weights()[0], before[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("form", ["keras", "h5", "tf"])
@pytest.mark.filterwarnings("ignore")
def test_weights_that_are_not_finite_are_refused(tmp_path, form, value):
    name = {"keras": "x.keras", "h5": "x.h5", "tf": "saved"}[form]
    network = small()
    kernel, bias = network.get_weights()
    bias[1] = value
    network.set_weights([kernel, bias])
    network.save(tmp_path / name, save_format="keras_v3" if form == "keras" else form)
    with pytest.raises(UserError, match=f"{name}: 1 of the 3 values of '.*bias.*' are NaN or infinite"):
        load_weights(small(), tmp_path / name)


def test_archives_that_are_empty_torn_or_too_large_are_one_line(tmp_path):
    empty = tmp_path / "empty.keras"
    zipfile.ZipFile(empty, "w").close()
    huge = tmp_path / "huge.keras"
    with zipfile.ZipFile(huge, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(80 << 20))
    torn = tmp_path / "torn.keras"
    torn.write_bytes(huge.read_bytes()[:-50])
    for path in (empty, huge, torn):
        with pytest.raises(UserError, match=f"{path.name}: "):
            load_weights(small(), path)
    with pytest.raises(UserError, match="its weights take 83886080 bytes"):
        load_weights(small(), huge)
    with zipfile.ZipFile(empty, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (20 << 20))
    with pytest.raises(UserError, match=r"config\.json takes more than"):
        layer_settings(empty)


class Bomb:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_arrays_with_pickles_are_refused(tmp_path):
    mark = tmp_path / "mark"
    np.savez(tmp_path / "bomb.npz", a=np.array([Bomb(mark)], object))
    with pytest.raises(UserError, match=r"bomb\.npz: cannot be read"):
        weights.load(deeplab.deeplab(width=0.05, middle_blocks=1), tmp_path / "bomb.npz")
    assert not mark.exists()


def test_a_pytorch_checkpoint_that_is_a_pickle_bomb_is_refused(tmp_path):
    pytest.importorskip("torch")
    mark = tmp_path / "mark"
    stream = io.BytesIO()
    pickle.dump({"model": Bomb(mark)}, stream)
    (tmp_path / "bomb.cpt").write_bytes(stream.getvalue())
    with pytest.raises(UserError, match="is not a PyTorch checkpoint of plain tensors"):
        weights.load(deeplab.deeplab(width=0.05, middle_blocks=1), tmp_path / "bomb.cpt")
    assert not mark.exists()
