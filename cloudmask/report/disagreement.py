"""Where network and labels differ most: the scenes and kinds of pixel that deserve a look, with pictures.

A network that has learned from many labels overrules single ones, so where the two differ, the labels are as suspect as
the network. Only the truth, where it is known, tells which of them is right.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from rich.table import Table

from cloudmask.records import Inference, Scene, Truth
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
    disputed = {scene.name: scene.disagreement for scene in scenes if scene.disagreement.keys() >= _SHARES}
    known = any(values.get("network_right") for values in disputed.values())  # 0 everywhere: the labels are the truth
    heads = ["differ", "cloud to the\nnetwork only", "cloud to the\nlabels only", "most in"]
    built = table("Scenes in which network and labels differ most", "scene", *heads, *([_RIGHT] if known else []))
    for name in sorted(disputed, key=lambda name: -disputed[name]["share"])[:_SCENES]:
        values = disputed[name]
        shares = [f"{values[key]:.2%}" for key in ("share", "network_only", "labels_only")]
        right = [f"{values['network_right']:.1%}" if "network_right" in values else ""] if known else []
        built.add_row(name, *shares, str(values.get("kind", "")), *right)
    return built


def kinds_table(inference: Inference, truth: Optional[Truth]) -> Table:
    """Tabulate the kinds of pixel by how often network and labels differ, the most frequent first."""
    strata, truths = inference.strata, truth.strata if truth else {}
    heads = ["pixels", "differ", *([_RIGHT] if truths else [])]
    built = table("Kinds of pixel in which network and labels differ most", "kind", *heads)
    shares = {kind: 1.0 - masks["network"]["pixel_accuracy"] for kind, masks in strata.items() if "network" in masks}
    for kind in sorted(shares, key=lambda kind: -shares[kind]):
        cells = [f"{strata[kind]['network']['pixels']:.0f}", f"{shares[kind]:.2%}"]
        if truths:
            cells.append(_network_right(truths.get(kind, {}), shares[kind]))
        built.add_row(kind, *cells)
    return built


def _network_right(truth: Mapping[str, Mapping[str, float]], share: float) -> str:
    """Where the two differ, exactly one of them is right, so their accuracies tell how often it is the network."""
    if not share or not {"network", "labels"} <= truth.keys():
        return ""
    gain = truth["network"]["pixel_accuracy"] - truth["labels"]["pixel_accuracy"]
    return f"{0.5 + gain / (2 * share):.1%}"
