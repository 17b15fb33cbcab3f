"""The reference program's flat YAML, translated into this project's settings.

It is recognised by its keys PATCH_SIZE, IMAGE_H, train_dir ... at the top level (MLCommons Science,
benchmarks/cloudmask/cloudMaskConfig.yaml).
"""

import difflib
from typing import Optional

from common.errors import UserError

# The reference's flat keys and the settings that they stand for. None: accepted without effect, for the reason given.
_REFERENCE_KEYS: dict = {
    "benchmark": ("benchmark",),
    "organisation": ("submission", "organisation"),
    "division": ("submission", "division"),
    "status": ("submission", "status"),
    "platform": ("submission", "platform"),
    "accelerators_per_node": ("submission", "accelerators_per_node"),
    "submission": None,  # repeats the keys above
    "train_dir": ("data", "train_dir"),
    "inference_dir": ("inference", "inference_dir"),
    "model_file": ("report", "model_file"),
    "output_dir": ("output", "folder"),
    "log_file": ("report", "log_file"),
    "mlperf_logfile": ("report", "mlperf_logfile"),
    "PATCH_SIZE": ("data", "patch_size"),
    "IMAGE_H": ("data", "image_h"),
    "IMAGE_W": ("data", "image_w"),
    "N_CHANNELS": None,  # the network has 9; another number is refused below
    "MIN_SST": None,  # the reference does not use it
    "CROP_SIZE": ("inference", "crop_size"),
    "seed": ("training", "seed"),
    "learning_rate": ("optimizer", "start_lr"),
    "epochs": ("training", "epochs"),
    "batch_size": ("training", "global_batch_size"),  # the reference's is over all GPUs
    "train_split": ("data", "train_split"),
    "clip_offset": None,  # the reference does not use it
    "no_cache": ("data", "cache"),
    "nodes": None,  # counted, not declared: the launcher decides
    "gpu": None,  # likewise
}


def translate(tree: dict, places: dict) -> Optional[dict]:
    """Translate the reference program's flat settings into this project's.

    Args:
        tree: the YAML file's content.
        places: file and line of each key, by path of keys.

    Returns:
        {(section, key): (value, the reference's key)}; None if the file has this project's form.

    Raises:
        UserError: if a key is unknown, or N_CHANNELS is not 9.
    """
    if not any(key in _REFERENCE_KEYS and key not in ("benchmark", "submission") for key in tree):
        return None
    result = {}
    for key, value in tree.items():
        if key not in _REFERENCE_KEYS:
            near = difflib.get_close_matches(str(key), list(_REFERENCE_KEYS), 1, 0.5)
            hint = f"did you mean '{near[0]}'?" if near else "known keys: " + ", ".join(_REFERENCE_KEYS)
            raise UserError(f"{places[(key,)]}: unknown key '{key}' in a file of the reference program's form: {hint}")
        if key == "N_CHANNELS" and value != 9:
            raise UserError(
                f"{places[(key,)]}: N_CHANNELS must be 9: 6 reflectances, 3 temperatures (found: {value!r})"
            )
        target = _REFERENCE_KEYS[key]
        if key == "no_cache" and isinstance(value, bool):
            value = "none" if value else "memory"
        if target is not None:
            result[target] = (value, key)
    result[("inference", "mode")] = ("reference", "the reference's way")
    result[("data", "missing")] = ("reference", "the reference's way")
    if "model_file" in tree:
        result[("inference", "model_file")] = (tree["model_file"], "model_file")
    return result
