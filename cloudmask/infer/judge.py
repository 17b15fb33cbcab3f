"""The figures of an inference: times and scores of all ranks' scenes in one record."""

from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from cloudmask import records, scoring
from cloudmask.infer.mask import Result
from cloudmask.infer.plan import Job
from cloudmask.scores import BinaryCounts
from cloudmask.scoring import NETWORK, Scores
from common import distributed
from common.keras.names import keras_policy
from common.measuring import timing


def judge(job: Job, results: list[Result], passes: list[timing.Measured]) -> records.Inference:
    """Summarise the times of all passes and the scores of the last one.

    Args:
        job: the inference's settings, network and tiling.
        results: those of the last pass, from all ranks.
        passes: the timed passes over all scenes.
    """
    settings = job.config.inference
    seconds = float(np.median([each.seconds for each in passes]))
    done = [result for result in results if not result.error]
    pixels = job.tiling.rows.length * job.tiling.columns.length
    return records.Inference(
        mode=settings.mode,
        precision=keras_policy(settings.precision),
        tf32=settings.precision == "tf32",
        ranks=distributed.size(),
        inferences=len(done),
        failed=[result.name for result in results if result.error],
        runs=len(passes),
        seconds=seconds,
        time_per_inference=seconds / len(done) if done else float("nan"),
        scenes_per_second=len(done) / seconds,
        megapixels_per_second=len(done) * pixels / seconds / 1e6,
        read=timing.summary([result.read for result in done]),
        compute=timing.summary([result.compute for result in done]),
        write=timing.summary([result.write for result in done]),
        rank_seconds=passes[-1].rank_seconds,
        rule=str(job.rule) if job.rule else "",
        **_scores([result.scores for result in done if result.scores is not None], list(job.other_masks)),
    )


def _scores(scored: list[Scores], other_masks: list[str]) -> dict[str, Any]:
    """The fields of an Inference that hold scores; none without labels. other_masks: names of masks of others."""
    total = reduce(add, scored, Scores())
    if not total.by_mask():
        return {}
    truth = total.truth if total.truth is not None and total.truth.by_mask() else None
    counted = total.counted
    pixels = counted[NETWORK].pixels
    return {
        "scores": total.by_mask(),
        "strata": total.by_stratum(),
        "scene_means": scoring.scene_means(scored),
        "calibration": total.calibration_curve(),
        "truth": {} if truth is None else {"scores": truth.by_mask(), "strata": truth.by_stratum()},
        "shares": {name: counted[name].pixels / pixels for name in other_masks if name in counted},
    }


def remark(results: list[Result]) -> str:
    """Say in one line why the scores say little or nothing; empty if there is no reason, or no scene with labels."""
    scored = [result.scores for result in results if result.scores is not None and not result.error]
    counts = reduce(add, scored, Scores()).counted.get(NETWORK)
    if counts is None:
        return ""
    if not counts.pixels:
        return f"no scores: nothing was measured in the {len(scored)} scenes that have labels"
    for kind, others in (("clear", counts.true_positive + counts.false_negative), ("cloud", _negatives(counts))):
        if not others:
            return f"warning: every label of the {len(scored)} scenes scored is {kind}: the scores say little"
    return ""


def _negatives(counts: BinaryCounts) -> float:
    return counts.true_negative + counts.false_positive


def scene_record(result: Result) -> records.Scene:
    """The record of one scene: times, the network's scores, and where network and labels differ.

    "accuracy_against_truth" is among the scores if the truth is known.
    """
    record = records.Scene(result.name, result.read, result.compute, result.write, result.error)
    scores = {} if result.scores is None else dict(result.scores.by_mask().get(NETWORK, {}))
    if not scores or result.scores is None:
        return record
    if result.scores.truth is not None:
        scores["accuracy_against_truth"] = result.scores.truth.by_mask()[NETWORK]["pixel_accuracy"]
    return replace(record, disagreement=result.scores.disagreement(), scores=scores)


def most_disputed(results: list[Result], count: int) -> list[tuple[str, Scores]]:
    """Names and scores of the `count` scenes in which network and labels differ most, the largest difference first."""
    scored = [(each.name, each.scores) for each in results if not each.error and each.scores]
    return sorted(scored, key=lambda each: -each[1].disagreement().get("share", 0.0))[:count]
