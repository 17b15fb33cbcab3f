"""Scores of a cloud mask, from counts of pixels.

Counts are summed locally, then over ranks, and divided once, so that no score depends on how samples were batched or
distributed over ranks. Positive means cloud. Source of the definitions: scikit-learn's user guide, "Classification
metrics".
"""

import math
from dataclasses import dataclass

import numpy as np

from cloudmask.compiled import compiled

SUREST = 1e-7  # probabilities are clipped here, as in Keras, so that the loss of one sure mistake is finite


@dataclass(frozen=True)
class BinaryCounts:
    """A weighted confusion matrix of two classes and the summed log loss, in pixels."""

    true_positive: float = 0.0
    false_positive: float = 0.0
    false_negative: float = 0.0
    true_negative: float = 0.0
    log_loss_sum: float = 0.0

    @classmethod
    def of(cls, probability: np.ndarray, truth: np.ndarray, weight: np.ndarray, threshold: float) -> "BinaryCounts":
        """Count predictions given as probabilities.

        Args:
            probability: [...] float, of the positive class.
            truth: [...] bool, or 0 and 1.
            weight: [...] of each pixel; where it is 0 the probability may be NaN.
            threshold: the probability above which a prediction is positive.
        """
        return cls(*_sums(probability.ravel(), truth.ravel(), weight.ravel(), threshold))

    @classmethod
    def of_certain(cls, positive: np.ndarray, truth: np.ndarray, where: np.ndarray) -> "BinaryCounts":
        """Count predictions without probabilities over the pixels `where`; bool arrays of one shape."""
        positive = positive & where
        true_positive = np.count_nonzero(positive & truth)
        false_positive = np.count_nonzero(positive) - true_positive
        false_negative = np.count_nonzero(truth & where) - true_positive
        wrong = false_positive + false_negative
        true_negative = np.count_nonzero(where) - true_positive - wrong
        loss = -wrong * float(np.log(SUREST))
        return cls(float(true_positive), float(false_positive), float(false_negative), float(true_negative), loss)

    @classmethod
    def from_array(cls, values: np.ndarray) -> "BinaryCounts":
        """The inverse of `as_array`."""
        return cls(*(float(value) for value in values))

    def as_array(self) -> np.ndarray:
        """The five sums, [5] float64, in the order of the fields, to be added over ranks."""
        return np.array(
            [self.true_positive, self.false_positive, self.false_negative, self.true_negative, self.log_loss_sum]
        )

    def __add__(self, other: "BinaryCounts") -> "BinaryCounts":
        return BinaryCounts.from_array(self.as_array() + other.as_array())

    @property
    def pixels(self) -> float:
        return float(self.as_array()[:4].sum())

    def scores(self) -> dict:
        """Pixel accuracy, F1, precision, recall, IoU, Kuiper skill and log loss; NaN where nothing was counted.

        Kuiper skill is the hit rate minus the false-alarm rate, which is used to compare masks with lidar (Poulsen et
        al., Remote Sensing 2020): it is 0 for a mask that is the same everywhere, whatever the share of cloud.
        """
        tp, fp, fn, tn, loss = self.as_array()
        return {
            "pixel_accuracy": _ratio(tp + tn, self.pixels),
            "f1": _ratio(2 * tp, 2 * tp + fp + fn),
            "precision": _ratio(tp, tp + fp),
            "recall": _ratio(tp, tp + fn),
            "iou": _ratio(tp, tp + fp + fn),
            "kuiper_skill": _ratio(tp, tp + fn) - _ratio(fp, fp + tn),
            "log_loss": _ratio(loss, self.pixels),
        }


@compiled
def _sums(probability: np.ndarray, truth: np.ndarray, weight: np.ndarray, threshold: float) -> tuple:
    """The five sums of a BinaryCounts; arrays [pixels]."""
    true_positive = false_positive = false_negative = true_negative = log_loss = 0.0
    for pixel in range(probability.size):
        counts = weight[pixel]
        if counts > 0:
            certainty = float(probability[pixel])
            if certainty > threshold:
                if truth[pixel]:
                    true_positive += counts
                else:
                    false_positive += counts
            elif truth[pixel]:
                false_negative += counts
            else:
                true_negative += counts
            if not truth[pixel]:
                certainty = 1.0 - certainty
            if certainty < SUREST:  # not max(), which may hide a NaN
                certainty = SUREST
            log_loss -= counts * math.log(certainty)
    return true_positive, false_positive, false_negative, true_negative, log_loss


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")
