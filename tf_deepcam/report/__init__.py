"""What DeepCAM adds to reports."""

from common.report.extension import Extension
from common.report.options import show
from tf_deepcam.report.forms import epcc_table, esif_table, nersc_table, samples_per_statistic
from tf_deepcam.report.one_run import tables

EXTENSION = Extension(
    forms=(esif_table, nersc_table, epcc_table),
    rows={"samples per statistic": lambda run: show(samples_per_statistic(run))},
    tables=tables,
    score_titles={"iou": "IoU"},
)
