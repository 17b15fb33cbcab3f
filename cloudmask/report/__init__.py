"""What CloudMask adds to reports."""

from cloudmask.report.forms import inference_table
from cloudmask.report.one_run import SCORE_TITLES, pictures, tables
from common.report.extension import Extension
from common.report.options import show

EXTENSION = Extension(
    forms=(inference_table,),
    rows={"network": lambda run: show(run.value("network")), "loss": lambda run: show(run.value("loss"))},
    tables=tables,
    score_titles=SCORE_TITLES,
    epoch_scores=("accuracy_all_pixels", "accuracy_measured_pixels"),
    pictures=pictures,
    plots=("calibration.png",),
    kind=("network", "loss"),
)
