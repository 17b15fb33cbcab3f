"""The services, with eodag pointed at them; tests that need eodag skip where it is not installed."""

import argparse
import threading
from pathlib import Path

import pytest

from tests.cloudmask.fetch.services import Services


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The services, and one gateway of eodag's, which takes half a second to make."""
    eodag = pytest.importorskip("eodag", reason="eodag is not installed here: see requirements-dev.txt")
    services = Services(tmp_path_factory.mktemp("eodag"))
    thread = threading.Thread(target=lambda: services.serve_forever(poll_interval=0.05), daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in services.environment.items():
            patch.setenv(name, value)
        gateway = eodag.EODataAccessGateway()
        patch.setattr(eodag, "EODataAccessGateway", lambda: gateway)
        yield services
    services.shutdown()
    services.server_close()
    thread.join()


@pytest.fixture
def services(running) -> Services:
    running.reset()
    return running


@pytest.fixture
def fetch(services, tmp_path):
    """The command; returns the target's folder."""
    from cloudmask.fetch import command

    def call(provider: str = "cop_dataspace", at: str = "2026-06-15", **more) -> Path:
        words = {"near": "50.1,-4.2", "target": str(tmp_path / "to"), "list": False, "num_streams": 4, **more}
        command.main(argparse.Namespace(at=at, provider=provider, **words), first_pause=0.001)
        return tmp_path / "to"

    return call
