"""Engines: one rank builds, shapes are fixed, what is missing is said. TF-TRT itself is a stand-in that only copies."""

import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.compiler.tensorrt import trt_convert
from tensorflow.python.framework import convert_to_constants
from tensorflow.python.grappler import tf_optimizer
from tensorflow.python.training import saver

from common.distributed import cuda
from common.errors import UserError
from tf_deepcam.network import deeplab, tensorrt

SHAPE = (2, 32, 48, 16)


@pytest.fixture
def a_gpu(monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["gpu"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": "NVIDIA T4"})


@pytest.fixture(scope="module")
def network():
    return deeplab.deeplab(width=0.05, middle_blocks=1)


def folded(function: tf.types.experimental.ConcreteFunction) -> list:
    """The frozen graph after constant folding, as TF-TRT gets it."""
    frozen = convert_to_constants.convert_variables_to_constants_v2(function)
    graph = saver.export_meta_graph(graph_def=frozen.graph.as_graph_def(), graph=frozen.graph)
    graph.collection_def["train_op"].node_list.value.extend(output.name for output in frozen.outputs)
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.optimizers.extend(["constfold"])
    config.graph_options.rewrite_options.min_graph_nodes = -1
    return list(tf_optimizer.OptimizeGraph(config, graph).node)


def output_sizes(nodes: list) -> set:
    """Kinds of the nodes that give transposed convolutions the size of their output."""
    kinds = {node.name: node.op for node in nodes}
    return {kinds[node.input[0].split(":")[0]] for node in nodes if node.op == "Conv2DBackpropInput"}


def test_the_export_s_transposed_convolutions_have_constant_sizes(network, tmp_path):
    tensorrt.export(network, SHAPE, tmp_path / "fixed")
    loaded = tf.saved_model.load(str(tmp_path / "fixed"))
    assert output_sizes(folded(loaded.signatures["serving_default"])) == {"Const"}
    free = tf.function(network).get_concrete_function(tf.TensorSpec((None, None, None, 16)))
    assert output_sizes(folded(free)) != {"Const"}  # as it was


class Copier:
    """In place of TrtGraphConverterV2."""

    built: list = []  # noqa: RUF012

    def __init__(self, input_saved_model_dir: str, precision_mode: str):
        self.source, self.precision = input_saved_model_dir, precision_mode

    def convert(self):
        pass

    def build(self, input_fn):
        Copier.built += [(self.precision, tuple(inputs.shape)) for (inputs,) in input_fn()]

    def save(self, folder):
        shutil.copytree(self.source, folder)


def test_an_engine_is_built_once_and_takes_a_smaller_last_batch(a_gpu, network, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt, "_problem", lambda precision, folder: None)
    monkeypatch.setattr(trt_convert, "TrtGraphConverterV2", Copier)
    Copier.built.clear()
    for _ in range(2):
        forward = tensorrt.compiled(network, SHAPE, "mixed_float16", str(tmp_path / "engines"))
    assert Copier.built == [("FP16", SHAPE)]
    (engine,) = (tmp_path / "engines").iterdir()
    assert engine.name.startswith("NVIDIA-T4-")
    fields = np.random.default_rng(0).random((1, *SHAPE[1:]), np.float32)
    np.testing.assert_allclose(forward(tf.constant(fields)), network(fields), atol=1e-5)


class Ranks:
    """Ranks that are threads of this process, and their collective operations."""

    def __init__(self, size: int):
        self._barrier, self._own, self._values = threading.Barrier(size, timeout=20), threading.local(), [None] * size

    def run(self, function) -> None:
        def start(rank: int) -> None:
            self._own.rank = rank
            function()

        threads = [threading.Thread(target=start, args=(rank,)) for rank in range(len(self._values))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def rank(self) -> int:
        return self._own.rank

    def gather_objects(self, value) -> list:
        self._barrier.wait()
        self._values[self.rank()] = value
        self._barrier.wait()
        return list(self._values)

    def raise_together(self, error) -> None:
        assert self.gather_objects(error) == [None] * len(self._values)


@pytest.mark.parametrize(("shared", "builders"), [(True, [0]), (False, [0, 2])])
def test_one_rank_of_each_file_system_builds(monkeypatch, shared, builders):
    """Four ranks on two nodes."""
    ranks, built, seen = Ranks(4), [], []
    monkeypatch.setattr(tensorrt, "distributed", ranks)
    monkeypatch.setattr(tensorrt, "socket", SimpleNamespace(gethostname=lambda: f"node{ranks.rank() // 2}"))
    monkeypatch.setattr(tensorrt, "_publish", lambda target, build: build(target))

    class Folder:
        def __str__(self):
            return "/engines/engine"

        def is_dir(self):
            return any(shared or builder // 2 == ranks.rank() // 2 for builder in built)

    def one_rank() -> None:
        tensorrt.build_where_missing(Folder(), lambda place: built.append(ranks.rank()))
        seen.append(Folder().is_dir())

    ranks.run(one_rank)
    assert (built, seen) == (builders, [True] * 4)


def test_the_library_is_probed_by_the_name_that_tensorflow_loads(a_gpu, monkeypatch):
    assert tensorrt.libraries((8, 6, 1)) == ["libnvinfer.so.8.6.1", "libnvinfer_plugin.so.8.6.1"]
    monkeypatch.setattr(tensorrt, "linked_version", lambda: (8, 6, 1))
    monkeypatch.setattr(cuda, "loads", lambda name, places: "plugin" in name)
    with pytest.raises(
        UserError, match=r"enable_trt: libnvinfer.so.8.6.1 cannot be loaded, by exactly this name: it needs"
    ):
        tensorrt.compiled(None, SHAPE, "float32", "engines")
    monkeypatch.setattr(cuda, "loads", lambda name, places: True)
    assert "FP" not in str(tensorrt._problem("mixed_bfloat16", "engines"))
    assert "trt_model_dir is not set" in str(tensorrt._problem("float32", ""))
    assert tensorrt._problem("float32", "engines") is None
    monkeypatch.setattr(tensorrt, "linked_version", lambda: (0, 0, 0))
    assert "no TensorRT in this TensorFlow" in str(tensorrt._problem("float32", "engines"))
