"""Tables where there is no terminal."""

from common.report.tables import show, table

HEADS = ("scene", "form", "size", "without S7 to S9", "without S1 to S6", "labels", "cloud", "sun", "made by")


def test_a_table_of_many_figures_loses_no_cell_and_no_word(capsys):
    row = ("S3B 20180101T0000", "SEN3", "1200 x 1500", "13.7%", "0.0%", "bayes", "67.2%")
    row = (*row, "day 10%, twilight 80%, night 11%", "baseline 005")
    wide = table("Scenes", *HEADS)
    wide.add_row(*row)
    show(wide)
    line = next(line for line in capsys.readouterr().out.splitlines() if "SEN3" in line)
    assert line.split() == " ".join(row).split()
