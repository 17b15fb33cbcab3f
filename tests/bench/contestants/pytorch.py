"""The benchmarks' work in PyTorch, at its best on CPUs: channels-last, and of several forms the fastest.

A training step is forward and backward pass, loss and PyTorch's own fused Adam; scores, which ours also computes, are
left out. bfloat16 is autocast's; in a forward pass the weights may be bfloat16 too.
"""

from typing import Callable, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from common.measuring.timing import repeat
from tests.bench.contestants.torch_deeplab import DeepLab
from tests.bench.contestants.torch_unet import UNet
from tests.bench.contestants.work import PATCHES, SAMPLE, SCENE
from tests.bench.measure import CORES
from tf_deepcam.losses import CLASS_WEIGHTS


class Benchmark(NamedTuple):
    """forward, step: shapes [batch, height, width, channels]; labels: from [batch, height, width] to their tensor."""

    network: Callable[[], nn.Module]
    forward: tuple
    step: tuple
    labels: Callable[[tuple], torch.Tensor]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cloud_loss(logits: torch.Tensor, cloud: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(logits.float(), cloud)


def cyclone_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor(CLASS_WEIGHTS)
    return functional.cross_entropy(logits.float(), labels, weights, reduction="none").mean()


BENCHMARKS = {
    "cloudmask": Benchmark(
        UNet, SCENE, PATCHES, lambda pixels: torch.randint(0, 2, (pixels[0], 1, *pixels[1:])).float(), cloud_loss
    ),
    "deepcam": Benchmark(DeepLab, SAMPLE, SAMPLE, lambda pixels: torch.zeros(pixels, dtype=torch.int64), cyclone_loss),
}


def build(benchmark: str, kind: str, precision: str) -> tuple:
    """(what is called for one unit of work, what it is)."""
    torch.set_num_threads(CORES)
    forms = (_forward if kind == "forward" else _step)(BENCHMARKS[benchmark], precision != "float32")
    name, work = fastest(forms)
    return work, f"PyTorch {torch.__version__.split('+')[0]}, {name}"


def fastest(forms: dict) -> tuple:
    """(name, work) of the fastest of {name: makes the work}; the others' memory is given back."""
    seconds = {name: min(repeat(make(), 2, 1)) if len(forms) > 1 else 0.0 for name, make in forms.items()}
    name = min(seconds, key=lambda name: seconds[name])
    return name, forms[name]()


def random_input(shape: tuple) -> torch.Tensor:
    """Normal numbers, the shape given with channels last, as they lie in memory."""
    return torch.randn(shape).permute(0, 3, 1, 2)


def _forward(benchmark: Benchmark, half: bool) -> dict:
    x = random_input(benchmark.forward)
    sample = x[..., :64, :64]  # what a graph is recorded on; any size may follow

    def network() -> nn.Module:
        return benchmark.network().eval().to(memory_format=torch.channels_last)

    def run(function, half_input: bool, autocast: bool = False):
        def work():
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                return function(x.bfloat16() if half_input else x)

        return work

    def frozen(module, half_input: bool, autocast: bool = False):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
            graph = torch.jit.trace(module, sample.bfloat16() if half_input else sample, check_trace=False)
            return torch.jit.freeze(graph)

    if not half:
        return {
            "eager": lambda: run(network(), False),
            "frozen": lambda: run(frozen(network(), False), False),
        }
    return {
        "autocast": lambda: run(network(), False, autocast=True),
        "autocast, frozen": lambda: run(frozen(network(), False, autocast=True), False),
        "bfloat16 weights": lambda: run(network().bfloat16(), True),
        "bfloat16 weights, frozen": lambda: run(frozen(network().bfloat16(), True), True),
    }


def _step(benchmark: Benchmark, half: bool) -> dict:
    x, labels = random_input(benchmark.step), benchmark.labels(benchmark.step[:3])

    def make():
        network = benchmark.network().train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters(), fused=True)

        def work():
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = network(x)
            loss = benchmark.loss(logits, labels)
            loss.backward()
            optimizer.step()
            return loss.item()

        return work

    return {"autocast, fused Adam" if half else "fused Adam": make}
