"""Where network and labels differ most: the scenes and kinds of pixel that a person should look at, with pictures.

A network that has learned from many labels overrules single ones, so that where the two differ the labels are suspect
as well as the network. Which of them is right only the truth tells, where it is known.
"""

from pathlib import Path

from rich.table import Table

from common.report.tables import table

PICTURE = "disagreement"  # pictures/PICTURE-1.png is of the first scene
_SCENES = 5
_RIGHT = "network right\nwhere they differ"


def pictures(folder: Path) -> list[str]:
    """Names of a run's pictures of these scenes, the largest disagreement first."""
    return sorted(path.name for path in (folder / "pictures").glob(f"{PICTURE}-*.png"))


def scenes_table(records: list) -> Table:
    """The five scenes in which network and labels differ most."""
    found = {r["name"]: r["disagreement"] for r in records if r["kind"] == "scene" and r.get("disagreement")}
    known = any(values.get("network_right") for values in found.values())  # 0 of all: the labels are the truth
    heads = ["differ", "cloud to the\nnetwork only", "cloud to the\nlabels only", "most in"]
    made = table("Scenes in which network and labels differ most", "scene", *heads, *([_RIGHT] if known else []))
    for name in sorted(found, key=lambda name: -found[name]["share"])[:_SCENES]:
        values = found[name]
        shares = [f"{values[key]:.2%}" for key in ("share", "network_only", "labels_only")]
        right = [f"{values['network_right']:.1%}" if "network_right" in values else ""] if known else []
        made.add_row(name, *shares, values["kind"], *right)
    return made


def kinds_table(inference: dict) -> Table:
    """Kinds of pixel by how often network and labels differ in them, the most often first."""
    strata, truths = inference.get("strata", {}), inference.get("truth", {}).get("strata", {})
    heads = ["pixels", "differ", *([_RIGHT] if truths else [])]
    made = table("Kinds of pixel in which network and labels differ most", "kind", *heads)
    shares = {kind: 1.0 - masks["network"]["pixel_accuracy"] for kind, masks in strata.items() if "network" in masks}
    for kind in sorted(shares, key=lambda kind: -shares[kind]):
        truth = truths.get(kind, {})
        cells = [f"{strata[kind]['network']['pixels']:.0f}", f"{shares[kind]:.2%}"]
        if truths:
            cells.append(_network_right(truth, shares[kind]))
        made.add_row(kind, *cells)
    return made


def _network_right(truth: dict, share: float) -> str:
    """Where the two differ exactly one of them is right, so that their accuracies tell how often it is the network."""
    if not share or not {"network", "labels"} <= truth.keys():
        return ""
    gain = truth["network"]["pixel_accuracy"] - truth["labels"]["pixel_accuracy"]
    return f"{0.5 + gain / (2 * share):.1%}"
