"""What is asked of DALI, by a stand-in for it that reads with NumPy: which GPU, and where its output lies."""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tf_deepcam.data import dali

SHAPE, FILES = (4, 6, 16), 5


class Pipeline:
    """Reads batches as DALI does with pad_last_batch."""

    def __init__(self, definition, options: dict):
        self.options, self.readers = options, []
        dali_now["pipeline"] = self
        self.outputs = definition()

    def build(self) -> None:
        self.position = 0

    def run(self) -> list:
        paths, size = self.readers[0]["files"], self.options["batch_size"]
        numbers = [min(number, FILES - 1) for number in range(self.position, self.position + size)]
        self.position = 0 if numbers[-1] == FILES - 1 else self.position + size
        arrays = np.stack([np.load(paths[number]) for number in numbers])
        return [SimpleNamespace(as_array=lambda: arrays)]


dali_now: dict = {}


def numpy_reader(**options):
    readers.append(options)
    return "fields"


readers: list = []


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Samples, and the stand-in in place of nvidia.dali."""
    arrays = np.random.default_rng(0).random((FILES, *SHAPE)).astype(np.float16)
    paths = [tmp_path / f"data-{number}.npy" for number in range(FILES)]
    for path, array in zip(paths, arrays):
        np.save(path, array)

    def pipeline_def(**options):
        def make(definition):
            def build():
                readers.clear()
                pipeline = Pipeline(definition, options)
                pipeline.readers = list(readers)
                return pipeline

            return build

        return make

    module = SimpleNamespace(
        fn=SimpleNamespace(readers=SimpleNamespace(numpy=numpy_reader)), types=None, pipeline_def=pipeline_def
    )
    monkeypatch.setitem(sys.modules, "nvidia.dali", module)
    files = [SimpleNamespace(path=str(path)) for path in paths]
    read = SimpleNamespace(normalisation=None)
    return arrays, SimpleNamespace(
        form="npy", shape=SHAPE, read=read, files=files, dtype=np.dtype(np.float16), labels=False
    )


def a_gpu(monkeypatch, name: str) -> list:
    """TensorFlow sees this one; the devices that something was placed on."""
    placed = []

    @contextmanager
    def device(where):
        placed.append(where)
        yield

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [SimpleNamespace(name=name)])
    monkeypatch.setattr(tf, "device", device)
    return placed


def test_on_a_cpu_two_passes_give_all_samples_in_order(source):
    arrays, samples = source
    batches = dali.DaliBatches(samples, 2, 1)
    for _ in range(2):
        found = [batch[0].numpy() for batch in batches.dataset()]
        assert [len(batch) for batch in found] == [2, 2, 1]
        np.testing.assert_array_equal(np.concatenate(found), arrays)
    assert dali_now["pipeline"].options["device_id"] is None


@pytest.mark.parametrize(("name", "device_id"), [("/physical_device:GPU:0", 0), ("/physical_device:GPU:3", 3)])
def test_on_a_gpu_its_number_is_the_process_s_and_output_stays_there(source, monkeypatch, name, device_id):
    """Whatever the local rank: a rank that sees one GPU only has number 0."""
    monkeypatch.setattr(dali.distributed, "local_rank", lambda: 2)
    placed, asked = a_gpu(monkeypatch, name), {}

    def dataset(**options):
        asked.update(options)
        return iter([(tf.zeros((2, *SHAPE), tf.float16),)] * 3)

    monkeypatch.setitem(sys.modules, "nvidia.dali.plugin.tf", SimpleNamespace(DALIDataset=dataset))
    batches = dali.DaliBatches(source[1], 2, 1)
    assert [len(batch[0]) for batch in batches.dataset()] == [2, 2, 1]
    assert (placed, asked["device_id"], asked["pipeline"].options["device_id"]) == (["/GPU:0"], device_id, device_id)
    assert asked["pipeline"].readers[0]["device"] == "gpu"
    assert (asked["output_dtypes"], asked["output_shapes"]) == ((tf.float16,), ((None, *SHAPE),))


def test_without_the_plugin_the_reader_stays_on_the_host(source, monkeypatch):
    a_gpu(monkeypatch, "/physical_device:GPU:0")
    monkeypatch.setitem(sys.modules, "nvidia.dali.plugin.tf", None)  # an ImportError
    arrays, samples = source
    batches = dali.DaliBatches(samples, 5, 1)
    assert dali_now["pipeline"].readers[0]["device"] == "cpu"
    np.testing.assert_array_equal(next(iter(batches.dataset()))[0], arrays)
