"""Programs and scripts of a user's own, each a Python of its own: which Keras they get, and what they print."""

from pathlib import Path

import pytest
import tensorflow as tf

from tests.helpers import ROOT, run
from tests.versions import KERAS_3

NEWS = (
    "WARNING: All log messages before absl::InitializeLog() is called\nI0000 00:00:17.42 1 port.cc:153] oneDNN is on\n"
)
ERROR = "E0000 00:00:17.42 1 dso_loader.cc:9] a library is broken\n"


def test_importing_common_imports_no_tensorflow():
    output = run("-c", "import common, sys; print('tensorflow' in sys.modules)")
    assert (output.returncode, output.stdout) == (0, "False\n")


@pytest.mark.parametrize("package", ["common", "cloudmask", "tf_deepcam"])
def test_a_script_that_imports_a_package_first_gets_keras_2_and_prints_nothing_else(package):
    output = run("-c", f"import {package}, tensorflow as tf; tf.add(1, 2); print(tf.keras.Model.__module__)")
    assert output.stdout == f"{tf.keras.Model.__module__}\n"
    assert output.stdout.startswith("tf_keras." if KERAS_3 else "keras.")


@pytest.mark.skipif(not KERAS_3, reason="this TensorFlow's own Keras is Keras 2")
def test_tensorflow_with_keras_3_before_our_packages_is_one_clear_error():
    output = run("-c", "import tensorflow, common", TF_USE_LEGACY_KERAS="0")
    assert output.returncode == 1
    assert "TensorFlow was imported with Keras 3 before this project's packages" in output.stdout.splitlines()[-1]


def library(folder: Path, version: str, body: str) -> Path:
    """A folder for PYTHONPATH in which TensorFlow of that version is `body`, with a tf_keras beside it."""
    for name, text in {"tensorflow": f"import os\n{body}\n", "tf_keras": ""}.items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(text)
    (folder / f"tensorflow-{version}.dist-info").mkdir()
    (folder / f"tensorflow-{version}.dist-info" / "METADATA").write_text(f"Name: tensorflow\nVersion: {version}\n")
    return folder


@pytest.mark.parametrize(
    ("version", "expected"), [("2.15.1", "None"), ("2.16.0", "1"), ("2.17.0+nv25.2", "1"), ("2.21.0-rc1", "1")]
)
def test_keras_2_is_asked_for_where_tensorflow_s_own_is_keras_3(tmp_path, version, expected):
    path = library(tmp_path, version, "print(os.environ.get('TF_USE_LEGACY_KERAS'))")
    output = run(
        "-c",
        "import os; os.environ.pop('TF_USE_LEGACY_KERAS', 0); import common, tensorflow",
        PYTHONPATH=f"{path}:{ROOT}",
    )
    assert output.stdout == f"{expected}\n"


@pytest.mark.parametrize(("level", "expected"), [("3", ERROR), ("0", NEWS + ERROR)])
def test_news_of_tensorflow_s_import_is_kept_out_and_errors_are_not(tmp_path, level, expected):
    path = library(tmp_path, "2.21.0", f"os.write(2, {(NEWS + ERROR).encode()!r})")
    output = run("-c", "import common, tensorflow", PYTHONPATH=f"{path}:{ROOT}", TF_CPP_MIN_LOG_LEVEL=level)
    assert (output.returncode, output.stdout) == (0, expected)


def test_the_last_words_of_an_import_that_dies_come_out(tmp_path):
    path = library(tmp_path, "2.21.0", f"os.write(2, {(NEWS + ERROR).encode()!r})\nos.abort()")
    output = run("-c", "import common, tensorflow", PYTHONPATH=f"{path}:{ROOT}")
    assert output.returncode < 0
    assert output.stdout == ERROR


def test_after_the_import_standard_error_is_as_before(tmp_path):
    path = library(tmp_path, "2.21.0", "raise ImportError('no such library')")
    script = "import common, os\ntry:\n  import tensorflow\nexcept ImportError as error: os.write(2, b'I0000 after')"
    assert run("-c", script, PYTHONPATH=f"{path}:{ROOT}").stdout == "I0000 after"


def test_freezing_a_network_prints_nothing():
    """TensorFlow 2.20 writes informational lines then, whatever TF_CPP_MIN_LOG_LEVEL says."""
    output = run(
        "-c",
        "import common, tensorflow as tf\n"
        "from common.keras import inference\n"
        "inputs = tf.keras.Input((8, 8, 1), batch_size=1)\n"
        "inference.frozen(tf.keras.Model(inputs, tf.keras.layers.Conv2D(1, 3)(inputs)))\n",
    )
    assert (output.returncode, output.stdout) == (0, "")
