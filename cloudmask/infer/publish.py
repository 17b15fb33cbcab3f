"""Output of an inference's figures: metrics.jsonl, MLPerf log, the reference's log, tables and pictures."""

from cloudmask import pictures, records, reference_log
from cloudmask.infer.judge import most_disputed, scene_record
from cloudmask.infer.mask import Result
from cloudmask.infer.plan import Job
from cloudmask.scoring import NETWORK
from common import distributed
from common.data.files import DataFile
from common.measuring import timing
from common.report.tables import show
from common.session import Session


def publish(
    job: Job,
    session: Session,
    scenes: list[DataFile],
    results: list[Result],
    passes: list[timing.Measured],
    inference: records.Inference,
) -> None:
    """Record, write and draw the results of an inference. All ranks call it; rank 0 writes."""
    _record(session, results, inference)
    if inference.inferences:
        line = reference_log.inference_line(job.config, inference.inferences, inference.time_per_inference)
        reference_log.write(session.run, job.config, line)
    if distributed.is_root():
        _write_times(job, session, passes, inference)
        if job.forward is not None and job.config.inference.pictures:
            _draw(job, session, scenes, results)
        if inference.calibration:
            pictures.draw_calibration(inference.calibration, session.run)


def _record(session: Session, results: list[Result], inference: records.Inference) -> None:
    session.log.events({"inference_precision_mode": inference.precision, "inference_tf32": inference.tf32})
    if NETWORK in inference.scores:
        session.log.event("inference_accuracy", inference.scores[NETWORK]["pixel_accuracy"])
    truth = inference.against_truth()
    if truth is not None:
        session.log.event("inference_accuracy_against_truth", truth.scores[NETWORK]["pixel_accuracy"])
    for result in results:
        session.run.record(scene_record(result))
        if result.error:
            session.run.say(f"failed: {result.error}")
    session.run.record(inference)


def _write_times(job: Job, session: Session, passes: list[timing.Measured], inference: records.Inference) -> None:
    """Write inference.json and .csv, and show a table of the passes if there are several or scenes were only read."""
    about = {
        "mode": inference.mode,
        "precision": inference.precision,
        "tf32": inference.tf32,
        "ranks": inference.ranks,
        "scores": inference.scores,
    }
    timing.write(str(session.run / "inference"), passes, about)
    if len(passes) > 1 or job.forward is None:
        show(timing.runs_table(passes))


def _draw(job: Job, session: Session, scenes: list[DataFile], results: list[Result]) -> None:
    if not {"reference", "netcdf"} & set(job.config.inference.output):
        session.run.say("no pictures: they are drawn from masks in the forms reference and netcdf (inference.output)")
        return
    masked = {result.name for result in results if not result.error}
    pictures.draw_scenes(scenes, session.run, job.config, masked)
    by_name = {scene.name: scene for scene in scenes}
    disputed = most_disputed(results, job.config.inference.pictures)
    pictures.draw_disagreements([(by_name[name], scores) for name, scores in disputed], session.run, job.config)
