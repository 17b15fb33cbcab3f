"""The range of TensorFlow versions, and its refusal."""

import pytest
import tensorflow as tf

from common.distributed.tensorflow_version import check, check_version
from common.errors import UserError


@pytest.mark.parametrize("version", ["2.12.0", "2.13.1", "2.15.1", "2.15.0+nv24.3", "2.17.0+nv25.2", "2.21.0-rc1"])
def test_versions_in_the_range_pass(version):
    check_version(version)


@pytest.mark.parametrize("version", ["1.15.5", "2.11.1", "2.22.0", "3.0.0"])
def test_others_are_one_line_with_what_to_do(version):
    with pytest.raises(UserError, match=rf"TensorFlow {version} is not supported, 2.12 to 2.21 are: .*make venv"):
        check_version(version)


def test_the_one_that_is_installed_is_asked(monkeypatch):
    check()
    monkeypatch.setattr(tf, "__version__", "2.11.0")
    with pytest.raises(UserError):
        check()


def test_keras_3_is_one_line_with_what_to_install(monkeypatch):
    class Model:
        """As Keras 3's, by the module that it says it is from."""

    Model.__module__ = "keras.src.models.model"
    monkeypatch.setattr(tf, "__version__", "2.20.0")
    monkeypatch.setattr(tf.keras, "Model", Model)
    with pytest.raises(UserError, match=r"TensorFlow 2.20.0 comes with Keras 3, .*: pip install 'tf-keras==2.20.\*'"):
        check()
