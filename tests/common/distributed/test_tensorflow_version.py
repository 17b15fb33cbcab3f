"""The range of TensorFlow versions, and its refusal."""

import pytest
import tensorflow as tf

from common.distributed.tensorflow_version import check
from common.errors import UserError


@pytest.mark.parametrize("version", ["2.12.0", "2.13.1", "2.15.1", "2.15.0+nv24.3", "2.14.0-rc1"])
def test_versions_in_the_range_pass(version):
    check(version)


@pytest.mark.parametrize("version", ["1.15.5", "2.11.1", "2.16.2", "3.0.0"])
def test_others_are_one_line_with_what_to_do(version):
    with pytest.raises(UserError, match=rf"TensorFlow {version} is not supported, 2.12 to 2.15 are: .*make venv"):
        check(version)


def test_the_one_that_is_installed_is_asked(monkeypatch):
    check()
    monkeypatch.setattr(tf, "__version__", "2.11.0")
    with pytest.raises(UserError):
        check()
