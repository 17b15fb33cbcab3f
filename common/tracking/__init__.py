"""Experiment trackers: a run's figures for Weights & Biases and for MLflow, which are optional packages.

`points` selects and names the values of a run's records; `weights_biases` and `mlflow_store` write them in the formats
of these packages, without a server; `live` does so during the run, common.export afterwards.
"""
