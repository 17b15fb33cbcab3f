"""Masks for scenes, timed and scored: plan, mask, judge, publish. Scenes are distributed over ranks."""

from contextlib import nullcontext
from typing import Optional

from cloudmask import records
from cloudmask.config import Config
from cloudmask.infer.judge import judge, remark
from cloudmask.infer.mask import Result, mask_all
from cloudmask.infer.plan import make_job, scenes_to_mask, warm_up
from cloudmask.infer.publish import publish
from common import distributed
from common.data.order import share
from common.keras import precision
from common.measuring import timing
from common.session import Outcome, Session


def infer(config: Config, session: Session, model_file: Optional[str] = None) -> records.Inference:
    """Mask all scenes. Collective.

    Args:
        config: the settings.
        session: the open run; after training, whose timed part is over, inference is an interval of its own.
        model_file: the network to use in place of inference.model_file.

    Returns:
        The record of the inference. It names the scenes that could not be masked; the others are.

    Raises:
        UserError: if there is no scene or no network, or if there are fewer scenes than ranks.
    """
    settings, say = config.inference, session.run.say
    precision.apply("inference", settings)
    scenes = scenes_to_mask(config)
    first, last = share(len(scenes), distributed.rank(), distributed.size())
    own_scenes = scenes[first:last]
    job = make_job(config, session, scenes, model_file)
    say(f"{job.in_words(len(scenes))} ({settings.mode}, {precision.in_words(settings)})")
    warm_up(job)
    results: list[Result] = []

    def one_pass() -> timing.Work:
        results[:] = mask_all(job, own_scenes, say)
        done = [scene for scene, result in zip(own_scenes, results) if not result.error]
        return timing.Work(len(done), sum(scene.bytes for scene in done))

    with nullcontext(Outcome()) if session.began else session.timed() as outcome:
        session.log.start("inference", scenes=len(scenes))
        passes = timing.measure(one_pass, settings.num_warmup_runs, settings.num_runs, say)
        all_results = [result for part in distributed.gather_objects(results) for result in part]
        outcome.success = not any(result.error for result in all_results)
        session.log.end("inference", scenes=len(scenes), status="success" if outcome.success else "aborted")
    inference = judge(job, all_results, passes)
    remarked = remark(all_results)
    if remarked:
        say(remarked)
    publish(job, session, scenes, all_results, passes, inference)
    return inference
