"""DeepCAM's entry in common.cli.registry."""

from common.cli.registry import Benchmark

BENCHMARK = Benchmark(
    name="deepcam",
    package="tf_deepcam",
    title="DeepCAM",
    job_command="train",
    sections=(("inference", "infer"),),
    score="iou",
    target=0.82,  # MLPerf HPC v3.0
    ruleset="3.0.0",
    figures=("staging", "inference"),
    least_models=5,  # hpc_training_rules.adoc
    report="tf_deepcam.report:EXTENSION",
)
