"""Scores of masks: over all scenes, per scene, per kind of pixel (stratum), and by the network's confidence.

Masks are scored alike: the network's, the threshold baseline's, the operational `summary` mask if the scene has it, and
those of inference.other_masks. They are scored against the labels, and against the truth if a synthetic scene has it;
there the labels are scored as one more mask. All scores are sums over scenes and ranks, divided once. The exception is
the mean over scenes that sciml-bench prints, which gives every scene the same weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from cloudmask.compiled import compiled
from cloudmask.data.ancillary import Ancillary
from cloudmask.scores import BinaryCounts
from cloudmask.sen3 import NIGHT_DEGREES

NETWORK, BASELINE, SUMMARY, LABELS = "network", "baseline", "summary", "labels"
BINS = 15  # of the calibration, as in Guo et al., arXiv:1706.04599
_TWILIGHT_DEGREES = 80.0  # zenith angle of the sun where day ends, for scenes without flags; a choice of ours
LEAST_SHARE = 0.01  # of a scene's pixels that a kind must have to be named the worst
_SCENE_MEANS = ("pixel_accuracy", "f1", "log_loss")


def strata(ancillary: Ancillary, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Find the strata of a scene, from the product's own flags.

    Without flags, day, twilight and night come from the sun's zenith angle, or from the data set's folders day/ and
    night/.

    Args:
        ancillary: what the scene has besides its channels.
        shape: its height and width.

    Returns:
        The pixels of each stratum, [H, W] bool, by name.
    """
    pixels: dict[str, np.ndarray] = {}
    flags, zenith = ancillary.confidence, ancillary.solar_zenith
    if flags is not None and {"day", "twilight"} <= flags.meanings.keys():
        pixels["day"], pixels["twilight"] = flags.any_of("day"), flags.any_of("twilight")
        pixels["night"] = ~(pixels["day"] | pixels["twilight"])
    elif zenith is not None:
        pixels["day"], pixels["night"] = zenith < _TWILIGHT_DEGREES, zenith >= NIGHT_DEGREES
        pixels["twilight"] = ~(pixels["day"] | pixels["night"])
    elif ancillary.folder in ("day", "night"):
        pixels[ancillary.folder] = np.ones(shape, bool)
    if flags is not None:
        for meaning in ("land", "ocean", "coastline", "sun_glint", "snow"):
            if meaning in flags.meanings:
                pixels[meaning.replace("_", " ")] = flags.any_of(meaning)
    return pixels


@dataclass
class Scores:
    """Sums over the pixels of one scene or several, by mask."""

    counted: dict[str, BinaryCounts] = field(default_factory=dict)  # pixels that count, by data.missing
    everywhere: dict[str, BinaryCounts] = field(default_factory=dict)  # all pixels
    measured: dict[str, BinaryCounts] = field(default_factory=dict)  # pixels with a temperature
    strata: dict[tuple[str, str], BinaryCounts] = field(default_factory=dict)  # by (stratum, mask)
    calibration: np.ndarray = field(default_factory=lambda: np.zeros((3, BINS)))  # sums by bin: see _calibration
    truth: Optional["Scores"] = None  # the same against the truth, for scenes that have it

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(
            _sum(self.counted, other.counted),
            _sum(self.everywhere, other.everywhere),
            _sum(self.measured, other.measured),
            _sum(self.strata, other.strata),
            self.calibration + other.calibration,
            self.truth + other.truth if self.truth and other.truth else self.truth or other.truth,
        )

    def by_mask(self) -> dict[str, dict[str, float]]:
        """{mask: scores}: BinaryCounts.scores(), and the accuracies over all and over the measured pixels."""
        return {
            name: {
                **counts.scores(),
                "accuracy_all_pixels": self.everywhere[name].scores()["pixel_accuracy"],
                "accuracy_measured_pixels": self.measured[name].scores()["pixel_accuracy"],
            }
            for name, counts in self.counted.items()
            if counts.pixels
        }

    def by_stratum(self) -> dict[str, dict[str, dict[str, float]]]:
        """{stratum: {mask: accuracy, F1, IoU, Kuiper skill and pixels}}, without strata that have no pixels."""
        result: dict[str, dict[str, dict[str, float]]] = {}
        for (stratum, name), counts in self.strata.items():
            if counts.pixels:
                scores = counts.scores()
                shown = {key: scores[key] for key in ("pixel_accuracy", "f1", "iou", "kuiper_skill")}
                result.setdefault(stratum, {})[name] = {**shown, "pixels": counts.pixels}
        return result

    def disagreement(self) -> dict:
        """Describe where network and labels differ in one scene.

        Returns:
            "share" of the pixels that differ, and of those that only the network ("network_only") or only the labels
            ("labels_only") call cloud; "kind", the stratum that differs most; if the truth is known, "network_right",
            the share of the differing pixels in which the network is right. Empty if no pixel counts.
        """
        counts = self.counted.get(NETWORK, BinaryCounts())
        if not counts.pixels:
            return {}
        differing = counts.false_positive + counts.false_negative
        kinds = {
            stratum: (each.false_positive + each.false_negative) / each.pixels
            for (stratum, name), each in self.strata.items()
            if name == NETWORK and each.pixels >= LEAST_SHARE * counts.pixels
        }
        description: dict[str, object] = {
            "share": differing / counts.pixels,
            "network_only": counts.false_positive / counts.pixels,
            "labels_only": counts.false_negative / counts.pixels,
            "kind": max(kinds, key=lambda kind: kinds[kind]) if kinds else "",
        }
        if self.truth is not None and differing:
            network, labels = (_right(self.truth.counted[name]) for name in (NETWORK, LABELS))
            # Where they agree, both are right or both are wrong; where they differ, exactly one is right.
            description["network_right"] = 0.5 + (network - labels) / (2 * differing)
        return description

    def calibration_curve(self) -> dict:
        """Pixels, mean probability and share of cloud by bin of the network's probability; None where a bin is empty.

        "expected_calibration_error" is the mean distance between probability and share, weighted by pixels.
        """
        pixels, probability, cloud = self.calibration
        filled = np.maximum(pixels, 1)
        distance = np.abs(probability - cloud) / filled
        return {
            "pixels": pixels.tolist(),
            "probability": [p / n if n else None for p, n in zip(probability.tolist(), pixels.tolist())],
            "cloud": [c / n if n else None for c, n in zip(cloud.tolist(), pixels.tolist())],
            "expected_calibration_error": float((distance * pixels).sum() / max(pixels.sum(), 1)),
        }


def _right(counts: BinaryCounts) -> float:
    return counts.true_positive + counts.true_negative


def _sum(first: dict, second: dict) -> dict:
    return {key: first.get(key, BinaryCounts()) + second.get(key, BinaryCounts()) for key in {**first, **second}}


def score(
    probability: np.ndarray,
    threshold: float,
    others: dict[str, np.ndarray],
    cloud: np.ndarray,
    counted: np.ndarray,
    measured: np.ndarray,
    ancillary: Ancillary,
    known: Optional[Mapping[str, np.ndarray]] = None,
) -> Scores:
    """Score the masks of one scene against its labels.

    All arrays are [H, W]. If `ancillary` has the truth, all masks and the labels are scored against it as well.

    Args:
        probability: the network's, float32.
        threshold: the probability above which the network's mask is cloud.
        others: further masks by name, bool.
        cloud: the labels, uint8, 0 or 1.
        counted: the pixels that count (data.missing), uint8, 0 or 1.
        measured: the pixels that were measured, uint8, 0 or 1.
        ancillary: what else the scene has: flags, the operational mask, the truth.
        known: for masks in `others` that lack some pixels, bool, those that they have; no others count for them.
    """
    probability = probability.view()
    probability.flags.writeable = False  # as TensorFlow's arrays are, so that `prepare` compiles for this type
    truth, weight, seen = cloud.view(bool), counted.view(bool), measured.view(bool)
    everywhere = np.ones_like(truth)
    masks = {NETWORK: probability > threshold, **others}
    if ancillary.summary is not None:
        masks[SUMMARY] = ancillary.summary
    counted_strata = {name: pixels & weight for name, pixels in strata(ancillary, cloud.shape).items()}
    result = Scores(calibration=_calibration(probability.ravel(), truth.ravel(), weight.ravel(), BINS))
    known = known or {}
    for name, mask in masks.items():
        if name == NETWORK:  # only it gives probabilities
            result.counted[name] = BinaryCounts.of(probability, cloud, counted, threshold)
        else:
            result.counted[name] = BinaryCounts.of_certain(mask, truth, _within(weight, known.get(name)))
        result.everywhere[name] = BinaryCounts.of_certain(mask, truth, _within(everywhere, known.get(name)))
        result.measured[name] = BinaryCounts.of_certain(mask, truth, _within(seen, known.get(name)))
        for stratum, pixels in counted_strata.items():
            result.strata[stratum, name] = BinaryCounts.of_certain(mask, truth, _within(pixels, known.get(name)))
    if ancillary.truth is not None:
        others, true_cloud = {**others, LABELS: truth}, ancillary.truth.view(np.uint8)
        beside = ancillary._replace(truth=None)
        result.truth = score(probability, threshold, others, true_cloud, counted, measured, beside, known)
    return result


def _within(pixels: np.ndarray, known: Optional[np.ndarray]) -> np.ndarray:
    return pixels if known is None else pixels & known


def prepare() -> None:
    """Compile the functions that `score` calls, so that the first scene does not wait for them."""
    one = np.ones((1, 1), np.uint8)
    score(np.zeros((1, 1), np.float32), 0.5, {}, one, one, one, Ancillary())


@compiled
def _calibration(probability: np.ndarray, truth: np.ndarray, counted: np.ndarray, bins: int) -> np.ndarray:
    """Sum the pixels that count, their probabilities and their clouds by bin: [3, bins]; arrays [pixels]."""
    sums = np.zeros((3, bins))
    for pixel in range(probability.size):
        if counted[pixel] and 0 <= probability[pixel] <= 1:  # NaN has no bin; it shows in the log loss
            index = min(int(probability[pixel] * np.float32(bins)), bins - 1)
            sums[0, index] += 1
            sums[1, index] += probability[pixel]
            sums[2, index] += truth[pixel]
    return sums


def scene_means(scenes: list[Scores]) -> dict[str, float]:
    """Average the network's accuracy, F1 and loss over scenes, as sciml-bench prints them.

    Each is the mean over the scenes in which it is finite; "scenes" is the number of scenes in which any pixel counts.
    """
    scored = [scene.counted[NETWORK].scores() for scene in scenes if scene.counted[NETWORK].pixels]
    means = {}
    for name in _SCENE_MEANS:
        values = [scores[name] for scores in scored if np.isfinite(scores[name])]
        means[name] = float(np.mean(values)) if values else float("nan")
    return {**means, "scenes": float(len(scored))}
