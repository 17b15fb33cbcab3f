"""Where network and labels differ most: the scenes and kinds of pixel that deserve a look, with pictures.

A network that has learned from many labels overrules single ones, so where the two differ, the labels are as suspect as
the network. Only the truth, where it is known, tells which of them is right.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from rich.table import Table

from cloudmask.records import Inference, Scene, Truth
from common.report.logs import finite
from common.report.tables import table

PICTURE = "disagreement"  # pictures/PICTURE-1.png is of the first scene
_SCENES = 5
_SHARES = {"share", "network_only", "labels_only"}
_RIGHT = "network right\nwhere they differ"


def pictures(folder: Path) -> list[str]:
    """Names of a run's pictures of these scenes, the largest difference first."""
    return sorted(path.name for path in (folder / "pictures").glob(f"{PICTURE}-*.png"))


def scenes_table(scenes: list[Scene]) -> Table:
    """Tabulate the five scenes in which network and labels differ most."""
    every = {scene.name: _numbers(scene.disagreement) for scene in scenes}
    disputed = {name: values for name, values in every.items() if values.keys() >= _SHARES}
    most_in = {scene.name: scene.disagreement.get("kind") for scene in scenes}
    known = any(values.get("network_right") for values in disputed.values())  # 0 everywhere: the labels are the truth
    heads = ["differ", "cloud to the\nnetwork only", "cloud to the\nlabels only", "most in"]
    built = table("Scenes in which network and labels differ most", "scene", *heads, *([_RIGHT] if known else []))
    for name in sorted(disputed, key=lambda name: -disputed[name]["share"])[:_SCENES]:
        values = disputed[name]
        shares = [f"{values[key]:.2%}" for key in ("share", "network_only", "labels_only")]
        right = [_percent(values.get("network_right"))] if known else []
        built.add_row(name, *shares, str(most_in[name] or ""), *right)
    return built


def kinds_table(inference: Inference, truth: Optional[Truth]) -> Table:
    """Tabulate the kinds of pixel by how often network and labels differ, the most frequent first."""
    strata, truths = inference.strata, truth.strata if truth else {}
    heads = ["pixels", "differ", *([_RIGHT] if truths else [])]
    built = table("Kinds of pixel in which network and labels differ most", "kind", *heads)
    accuracies = {kind: finite(masks.get("network", {}).get("pixel_accuracy")) for kind, masks in strata.items()}
    shares = {kind: 1.0 - accuracy for kind, accuracy in accuracies.items() if accuracy is not None}
    for kind in sorted(shares, key=lambda kind: -shares[kind]):
        pixels = finite(strata[kind]["network"].get("pixels"))
        cells = ["" if pixels is None else f"{pixels:.0f}", f"{shares[kind]:.2%}"]
        if truths:
            cells.append(_network_right(truths.get(kind, {}), shares[kind]))
        built.add_row(kind, *cells)
    return built


def _network_right(truth: Mapping[str, Mapping[str, float]], share: float) -> str:
    """Where the two differ, exactly one of them is right, so their accuracies tell how often it is the network."""
    network, labels = (finite(truth.get(mask, {}).get("pixel_accuracy")) for mask in ("network", "labels"))
    return (
        _percent(0.5 + (network - labels) / (2 * share)) if share and network is not None and labels is not None else ""
    )


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: number for key, value in values.items() if (number := finite(value)) is not None}


def _percent(share: Optional[float]) -> str:
    return "" if share is None else f"{share:.1%}"
