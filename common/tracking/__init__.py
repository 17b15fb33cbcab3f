"""Experiment trackers, which are optional packages: a run's figures for Weights & Biases and for MLflow.

`points` says what of a run's record is shown and under which name; `weights_biases` and `mlflow_store` write it in the
packages' own formats, without a server; `live` does so while the run goes on, common.export afterwards.
"""
