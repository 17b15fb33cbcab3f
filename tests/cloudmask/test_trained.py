"""What an inference takes from the run that trained its network."""

import pytest

from cloudmask import config as settings
from cloudmask.infer.trained import as_trained
from common.config.render import dump
from common.errors import UserError


def run_folder(folder, *overrides):
    folder.mkdir()
    (folder / "config.yaml").write_text(dump(settings.load(None, list(overrides))))
    (folder / "environment.jsonl").touch()
    return folder


def followed(model, *overrides):
    return as_trained(settings.load(None, [f"inference.model_file={model}", *overrides]))


def test_what_is_not_set_is_the_run_s_and_what_is_set_otherwise_is_said(tmp_path):
    run = run_folder(
        tmp_path / "run", "model.network=narrow", "data.missing=reference", "data.sen3=physical", "data.stripe=b"
    )
    for model in (run, run / "model.keras"):
        config, notes = followed(model, "data.sen3=dataset", "inference.mode=tiles")
        assert (config.model.network, config.data.missing, config.data.sen3) == ("narrow", "reference", "dataset")
        assert config.inference.mode == "tiles"
        assert notes == [
            f"as in the training, {run}/config.yaml: model.network=narrow, data.missing=reference, data.stripe=b",
            f"warning: data.sen3 is dataset, but the network was trained with physical ({run}/config.yaml)",
        ]


def test_a_network_from_elsewhere_changes_nothing(tmp_path):
    assert followed(tmp_path / "model.keras").notes == []
    assert as_trained(settings.load(None, [])).notes == []


def test_another_network_than_the_run_s_is_refused(tmp_path):
    run = run_folder(tmp_path / "run")
    with pytest.raises(UserError, match=r"model.network is 'pixel', but .*run trained the network 'reference': leave"):
        followed(run, "model.network=pixel")
