"""What masks are worth: over all scenes, by scene, by stratum, and by how sure the network was. Against the labels, and
once more against the truth where a made-up scene has it; there the labels are one more mask to be judged.

Three masks are judged alike: the network's, the threshold baseline's, and the operational `summary` mask where the
scene has it. Everything is sums that are added over scenes and ranks and divided once; only the mean over scenes, which
sciml-bench prints, weighs a scene with few pixels as one with many.
"""

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
_LEAST_SHARE = 0.01  # of a scene's pixels that a kind must have to be named as the worst
_SCENE_MEANS = ("pixel_accuracy", "f1", "log_loss")


def strata(ancillary: Ancillary, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Where each stratum is that the scene tells of, [H, W] bool.

    By the product's own flags; day, twilight and night else by the sun's zenith angle, or by the data set's folders
    day/ and night/.
    """
    found: dict[str, np.ndarray] = {}
    flags, zenith = ancillary.confidence, ancillary.solar_zenith
    if flags is not None and {"day", "twilight"} <= flags.meanings.keys():
        found["day"], found["twilight"] = flags.any_of("day"), flags.any_of("twilight")
        found["night"] = ~(found["day"] | found["twilight"])
    elif zenith is not None:
        found["day"], found["night"] = zenith < _TWILIGHT_DEGREES, zenith >= NIGHT_DEGREES
        found["twilight"] = ~(found["day"] | found["night"])
    elif ancillary.folder in ("day", "night"):
        found[ancillary.folder] = np.ones(shape, bool)
    if flags is not None:
        for meaning in ("land", "ocean", "coastline", "sun_glint", "snow"):
            if meaning in flags.meanings:
                found[meaning.replace("_", " ")] = flags.any_of(meaning)
    return found


@dataclass
class Scores:
    """Sums over the pixels of one scene, or of several added up; the masks by name."""

    counted: dict[str, BinaryCounts] = field(default_factory=dict)  # the pixels that count, by data.missing
    everywhere: dict[str, BinaryCounts] = field(default_factory=dict)  # all pixels
    measured: dict[str, BinaryCounts] = field(default_factory=dict)  # those with a temperature
    strata: dict[tuple[str, str], BinaryCounts] = field(default_factory=dict)  # by (stratum, mask)
    calibration: np.ndarray = field(default_factory=lambda: np.zeros((3, BINS)))  # pixels, probability, cloud
    truth: Optional["Scores"] = None  # the same against the truth, of the scenes that have it

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
        """{mask: scores}: BinaryCounts.scores(), and the accuracy over all pixels and over the measured ones."""
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
        """{stratum: {mask: accuracy, F1, IoU, Kuiper skill and pixels}}, strata without pixels left out."""
        result: dict[str, dict[str, dict[str, float]]] = {}
        for (stratum, name), counts in self.strata.items():
            if counts.pixels:
                scores = counts.scores()
                shown = {key: scores[key] for key in ("pixel_accuracy", "f1", "iou", "kuiper_skill")}
                result.setdefault(stratum, {})[name] = {**shown, "pixels": counts.pixels}
        return result

    def disagreement(self) -> dict:
        """Of one scene: the share of its pixels in which network and labels differ, each side's part of it, the kind of
        pixel in which they differ most, and where the truth is known in how many of these pixels the network is right.
        Empty if no pixel counts."""
        counts = self.counted.get(NETWORK, BinaryCounts())
        if not counts.pixels:
            return {}
        differing = counts.false_positive + counts.false_negative
        kinds = {
            stratum: (each.false_positive + each.false_negative) / each.pixels
            for (stratum, name), each in self.strata.items()
            if name == NETWORK and each.pixels >= _LEAST_SHARE * counts.pixels
        }
        found: dict[str, object] = {
            "share": differing / counts.pixels,
            "network_only": counts.false_positive / counts.pixels,
            "labels_only": counts.false_negative / counts.pixels,
            "kind": max(kinds, key=lambda kind: kinds[kind]) if kinds else "",
        }
        if self.truth is not None and differing:
            network, labels = (_right(self.truth.counted[name]) for name in (NETWORK, LABELS))
            # Where they agree both are right or both wrong; where they differ exactly one is right.
            found["network_right"] = 0.5 + (network - labels) / (2 * differing)
        return found

    def calibration_curve(self) -> dict:
        """By bin of the network's probability: pixels, mean probability, share of cloud; None where a bin is empty.

        expected_calibration_error: the mean distance of the two, weighted with pixels.
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
) -> Scores:
    """Of one scene; all arrays [H, W].

    probability: the network's, cloud above `threshold`. others: further masks by name, bool. cloud: the labels;
    counted, measured: which pixels count, and which were measured; uint8, 0 or 1. Where `ancillary` has the truth, all
    masks and the labels are scored against it besides.
    """
    probability = probability.view()
    probability.flags.writeable = False  # as it comes from TensorFlow, so that `prepare` compiles for it
    truth, weight, seen = cloud.view(bool), counted.view(bool), measured.view(bool)
    everywhere = np.ones_like(truth)
    masks = {NETWORK: probability > threshold, **others}
    if ancillary.summary is not None:
        masks[SUMMARY] = ancillary.summary
    places = {name: place & weight for name, place in strata(ancillary, cloud.shape).items()}
    result = Scores(calibration=_calibration(probability.ravel(), truth.ravel(), weight.ravel(), BINS))
    for name, mask in masks.items():
        if name == NETWORK:  # only it says how sure it is
            result.counted[name] = BinaryCounts.of(probability, cloud, counted, threshold)
        else:
            result.counted[name] = BinaryCounts.of_certain(mask, truth, weight)
        result.everywhere[name] = BinaryCounts.of_certain(mask, truth, everywhere)
        result.measured[name] = BinaryCounts.of_certain(mask, truth, seen)
        for stratum, place in places.items():
            result.strata[stratum, name] = BinaryCounts.of_certain(mask, truth, place)
    if ancillary.truth is not None:
        others, known = {**others, LABELS: truth}, ancillary.truth.view(np.uint8)
        beside = ancillary._replace(truth=None)
        result.truth = score(probability, threshold, others, known, counted, measured, beside)
    return result


def prepare() -> None:
    """Compile what `score` calls, so that the first scene does not wait for it."""
    one = np.ones((1, 1), np.uint8)
    score(np.zeros((1, 1), np.float32), 0.5, {}, one, one, one, Ancillary())


@compiled
def _calibration(probability: np.ndarray, truth: np.ndarray, counted: np.ndarray, bins: int) -> np.ndarray:
    """Pixels that count, their probabilities and their clouds summed by bin, [3, bins]; arrays [pixels]."""
    sums = np.zeros((3, bins))
    for pixel in range(probability.size):
        if counted[pixel] and 0 <= probability[pixel] <= 1:  # NaN has no bin; the log loss tells of it
            place = min(int(probability[pixel] * np.float32(bins)), bins - 1)
            sums[0, place] += 1
            sums[1, place] += probability[pixel]
            sums[2, place] += truth[pixel]
    return sums


def scene_means(scenes: list[Scores]) -> dict[str, float]:
    """The network's accuracy, F1 and loss, each the mean over the scenes that have it, as sciml-bench prints them."""
    found = [scene.counted[NETWORK].scores() for scene in scenes if scene.counted[NETWORK].pixels]
    means = {}
    for name in _SCENE_MEANS:
        values = [scores[name] for scores in found if np.isfinite(scores[name])]
        means[name] = float(np.mean(values)) if values else float("nan")
    return {**means, "scenes": float(len(found))}
