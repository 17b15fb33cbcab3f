"""Settings: what a user's mistakes look like, and that a dumped file loads back."""

import json

import pytest

from cloudmask import config as cloudmask_config
from cloudmask.research import config as research_config
from common.config import render
from common.errors import UserError
from tests.helpers import ROOT, run


def refused(tmp_path, text: str, *overrides: str) -> str:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        cloudmask_config.load(str(path), list(overrides))
    return str(caught.value).replace(str(path), "my.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n  epocs: 3\n", "my.yaml:2: unknown key 'training.epocs': did you mean 'training.epochs'?"),
        ("optimizer:\n  epochs: 3\n", "my.yaml:2: unknown key 'optimizer.epochs': did you mean 'training.epochs'?"),
        ("training:\n  epochs: three\n", "my.yaml:2: 'training.epochs' should be a valid integer (found: 'three')"),
        ("training:\n  epochs: 2.5\n", "my.yaml:2: 'training.epochs' should be a valid integer"),
        ("training:\n  xla: 1\n", "my.yaml:2: 'training.xla' should be a valid boolean (found: 1)"),
        ("data:\n\n  patch_size: 250\n", "my.yaml:3: 'data.patch_size' should be a multiple of 8 (found: 250)"),
        ("data:\n  image_h: 100\n", "my.yaml:1: 'data' patch_size 256 does not fit a scene of 100 x 1500"),
        ("schedule: {lr_schedule: multistep}\n", "my.yaml:1: 'schedule' lr_schedule: multistep needs milestones"),
        ("training:\n  epochs: 3\n  epochs: 4\n", "my.yaml:3: 'training.epochs' is given twice, first on line 2"),
        ("training: [\n", "my.yaml:2: is not valid YAML"),
        ("- 1\n", "my.yaml:1: expected 'key: value' lines, found [1]"),
        (
            "synthesize:\n  folder: x\n",
            "my.yaml:1: 'synthesize' is no longer a section: scenes are made by python -m cloudmask",
        ),
        ("training:\n  tf32: true\n", "my.yaml:2: 'training.tf32' is a precision: training.precision=tf32"),
        (
            "study:\n  seeds: [1]\n",
            "my.yaml:1: 'study' belongs to the command `study`: python -m cloudmask study --config FILE",
        ),
        ("PATCH_SIZE: 256\nlearning_rat: 0.1\n", "my.yaml:2: unknown key 'learning_rat' in a file of the reference"),
        ("PATCH_SIZE: 256\nN_CHANNELS: 3\n", "my.yaml:2: N_CHANNELS must be 9"),
    ],
)
def test_a_mistake_is_named_with_line_key_value_and_remedy(tmp_path, text, message):
    assert refused(tmp_path, text).startswith(message)


def test_a_mistake_in_an_override_names_the_override(tmp_path):
    assert refused(tmp_path, "", "optimizer.start_lr=-1").startswith("override 'optimizer.start_lr=-1':")
    assert refused(tmp_path, "", "epochs").startswith("override 'epochs': expected key=value")
    assert refused(tmp_path, "threads: 1\n", "threads.x=1").startswith("override 'threads.x=1': 'threads' is a value")


def test_overrides_win_and_numbers_may_be_written_as_1e_3(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("optimizer: {start_lr: 1e-3}\ntraining: {epochs: 7}\n")
    settings = cloudmask_config.load(str(path), ["training.epochs=3", "optimizer.optimizer_betas=[0.8, 0.99]"])
    assert settings.optimizer.start_lr == 0.001
    assert settings.training.epochs == 3
    assert settings.optimizer.optimizer_betas == (0.8, 0.99)


def test_a_missing_file_is_one_line():
    with pytest.raises(UserError, match=r"^nowhere\.yaml: cannot be read \(No such file or directory\)$"):
        cloudmask_config.load("nowhere.yaml")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        cloudmask_config.Config().training.epochs = 5


def test_a_dumped_file_loads_back_to_the_same_settings(tmp_path):
    path = tmp_path / "resolved.yaml"
    settings = cloudmask_config.load(None, ["training.epochs=3", "data.train_dir='some: odd # name'"])
    path.write_text(render.dump(settings))
    assert cloudmask_config.load(str(path)) == settings


def test_every_recipe_loads():
    recipes = sorted((ROOT / "config" / "cloudmask").glob("*.yaml"))
    studies = [recipe for recipe in recipes if recipe.stem.startswith("study_")]
    assert len(recipes) - len(studies) >= 3
    for recipe in recipes:
        load = research_config.load if recipe in studies else cloudmask_config.load
        assert load(str(recipe)).training.epochs > 0


def test_every_setting_is_documented():
    rows = render.setting_rows(cloudmask_config.Config)
    assert len(rows) > 50
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_schema_lists_sections_and_refuses_unknown_keys():
    output = run("-m", "common.config", "schema", "cloudmask")
    schema = json.loads(output.stdout)
    assert output.returncode == 0
    assert set(schema["properties"]) == set(cloudmask_config.Config.model_fields)
    assert schema["additionalProperties"] is False
