"""Products searched for and fetched from services of this machine: nothing of a real one was reached."""

import shutil
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pytest

from cloudmask.fetch import delivery, places
from cloudmask.sen3 import names
from common.errors import UserError
from tests.cloudmask.fetch.services import FILES, Services, name, secrets_in
from tests.helpers import errors, run

PROVIDERS = ["cop_dataspace", "eumetsat_ds", "cop_dataspace_s3"]
NEW, OLD = name(), name(created="20260615T121212", end="O_NR_004")


def downloads(services: Services) -> list[str]:
    """The files and archives that were asked for, by the last word of each."""
    paths = [unquote(path).split("?token")[0] for _, path in services.requests]
    wanted = [path for path in paths if "$value" in path or "/entry?" in path or "/eodata/" in path]
    return [path.removesuffix("/$value").removesuffix(")").split("(")[-1].split("/")[-1] for path in wanted]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def nothing_but_hidden(folder: Path) -> bool:
    return all(path.name.startswith(".") for path in folder.iterdir())


@pytest.mark.parametrize("provider", PROVIDERS)
def test_single_files_of_the_newest_twins_and_not_again(provider, services, fetch, capsys):
    old, new, other = services.add(OLD), services.add(NEW), services.add(name("C"))
    target = fetch(provider)
    assert {path.name for path in target.iterdir()} == {NEW, other.name}
    for held in (new, other):
        expected = {file: held.files[file] for file in FILES} | {"xfdumanifest.xml": held.manifest}
        assert contents(target / held.name) == expected
    assert len(downloads(services)) == 2 * (len(FILES) + 1)
    assert old.name not in downloads(services)
    output = capsys.readouterr().out
    assert f"such as {NEW} rather than {OLD}" in output
    assert "2 of 2 products fetched, 0 were there already" in output
    services.requests.clear()
    fetch(provider)
    assert downloads(services) == []
    assert secrets_in(output + capsys.readouterr().out) == []


def test_no_search_is_limited_to_some_platforms(services, fetch):
    for platform in "ABCD":
        services.add(name(platform))
    target = fetch(list=True)
    queries = [unquote(path) for _, path in services.requests if "$filter" in path]
    assert len(queries) == 1
    assert "SL_1_RBT___" in queries[0]
    assert "latform" not in queries[0]
    assert not target.exists()
    fetch()
    assert {names.acquisition(path.name).platform for path in target.iterdir()} == set("ABCD")


def test_a_service_without_single_files_gives_the_whole_archive(services, fetch):
    services.nodes = False
    held = services.add(NEW)
    target = fetch()
    (path,) = target.iterdir()
    assert path.name == NEW.replace(".SEN3", ".zip")
    assert path.read_bytes() == held.archive()
    services.requests.clear()
    fetch()
    assert downloads(services) == []


def test_what_has_to_be_ordered_is_left_to_eodag(services, fetch, monkeypatch):
    monkeypatch.setattr(places, "_is_ordered", lambda product: True)
    held = services.add(NEW)
    target = fetch()
    with zipfile.ZipFile(target / NEW.replace(".SEN3", ".zip")) as archive:
        assert archive.read(f"{NEW}/flags_in.nc") == held.files["flags_in.nc"]
    assert len(list(target.iterdir())) == 1


def test_of_a_time_the_nearest_acquisition_is_fetched(services, fetch):
    for hour in ("09", "11", "21"):
        services.add(name(start=f"20260615T{hour}1500"))
    target = fetch(at="2026-06-15T10:30")
    assert [path.name for path in target.iterdir()] == [name(start="20260615T111500")]


@pytest.mark.parametrize("provider", PROVIDERS[:2])
def test_a_token_that_expires_early_is_asked_for_again(provider, services, fetch):
    services.add(NEW)
    services.add(name("B"))
    fetch(provider, list=True)
    before, services.refuse = services.tokens, True
    assert len(list(fetch(provider).iterdir())) == 2
    assert services.tokens in (before + 1, before + 2)  # the first of a session, and the one in place of the refused


def test_a_token_that_is_never_taken_ends_it(services, fetch):
    services.add(NEW)
    services.answers["$value"] = [(401, {})] * 2
    with pytest.raises(UserError, match=r"xfdumanifest.xml: the server answers HTTP 401") as caught:
        fetch()
    assert secrets_in(str(caught.value)) == []


def test_a_redirect_is_followed_and_said_once(services, fetch, capsys):
    """As the Copernicus Data Space Ecosystem's catalogue does it: the token is a part of the address."""
    services.moved = True
    services.add(NEW)
    assert (fetch() / NEW).is_dir()
    output = capsys.readouterr().out
    port = services.server_address[1]
    assert output.count(f"{NEW}/xfdumanifest.xml: the server redirects to localhost:{port}\n") == 1
    assert secrets_in(output) == []


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_service_is_asked_again_after_the_time_that_it_names(code, services, fetch, capsys):
    services.add(NEW)
    services.answers["S7_BT_in"] = [(code, {"Retry-After": "1"})]
    assert (fetch() / NEW).is_dir()
    output = capsys.readouterr().out
    assert output.endswith("1 retries\n")
    assert float(output.split(" GB in ")[1].split(" s")[0]) >= 1


@pytest.mark.parametrize("nodes", [True, False])
def test_a_broken_stream_is_resumed(nodes, services, fetch, capsys):
    services.nodes, services.break_after = nodes, 70_000
    held = services.add(NEW)
    target = fetch()
    assert capsys.readouterr().out.endswith("1 retries\n")
    whole = target / NEW.replace(".SEN3", ".zip")
    assert contents(target / NEW)["S7_BT_in.nc"] == held.files["S7_BT_in.nc"] if nodes else whole.is_file()


def test_a_stopped_download_goes_on_where_it_was(services, fetch, tmp_path):
    services.add(NEW)
    services.answers["geometry_tn"] = [(503, {})] * 8
    with pytest.raises(UserError, match=r"gave up after 8 attempts .*the same command resumes"):
        fetch(num_streams=1)
    assert nothing_but_hidden(tmp_path / "to")
    services.requests.clear()
    assert (fetch() / NEW).is_dir()
    assert downloads(services) == ["xfdumanifest.xml", "geometry_tn.nc"]


@pytest.mark.parametrize("nodes", [True, False])
def test_a_wrong_checksum_is_tried_twice_and_deleted(nodes, services, fetch, tmp_path, capsys):
    services.nodes = nodes
    held = services.add(NEW)
    right, held.files["S7_BT_in.nc"] = held.files["S7_BT_in.nc"], bytes(len(held.files["S7_BT_in.nc"]))
    with pytest.raises(UserError, match=r"its checksum is not the manifest's, twice: try again later"):
        fetch()
    assert nothing_but_hidden(tmp_path / "to")
    assert "its checksum is not the manifest's: deleted" in capsys.readouterr().out
    held.files["S7_BT_in.nc"] = right
    assert not nothing_but_hidden(fetch())


def test_at_most_four_at_a_time(services, fetch):
    services.slow = 0.02
    for platform in "ABC":
        services.add(name(platform))
    fetch()
    assert 2 <= services.most_at_once <= 4


def test_too_little_free_space_is_said_before_anything_is_fetched(services, fetch, monkeypatch):
    services.add(NEW)
    usage = type("usage", (), {"free": 300_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"480032 bytes are still to be fetched, but only 300000 are free"):
        fetch()
    assert downloads(services) == ["xfdumanifest.xml"]


def test_a_damaged_product_is_left_as_it_is(services, fetch):
    services.add(NEW)
    target = fetch()
    (target / NEW / "flags_in.nc").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"flags_in.nc: its checksum is not the manifest's; it is left as it is: move"):
        fetch()
    assert (target / NEW / "flags_in.nc").read_bytes() == b"mine"


def test_names_that_lead_elsewhere_are_no_products(services, fetch, tmp_path, capsys):
    evil = ["../../evil.SEN3", f"{NEW[:-5]}/../evil.SEN3", "/tmp/evil", f"{NEW[:-5]}\x1b[2J", f"{NEW[:-5]}{'_' * 200}"]
    for each in evil:
        services.add(each)
    for provider in ("cop_dataspace", "eumetsat_ds"):
        with pytest.raises(UserError, match=r"no service has a product of 50\.1, -4\.2 on 2026-06-15 UTC"):
            fetch(provider)
    output = capsys.readouterr().out
    assert output.count("which is no SLSTR product: left out") == 2 * len(evil)
    assert output.isascii()
    assert "\x1b" not in output
    assert not (tmp_path / "to").exists()


def test_a_manifest_that_names_a_place_elsewhere_is_refused(services, fetch, tmp_path):
    held = services.add(NEW)
    held.files["../evil.nc"] = b"evil"
    held.seal()
    with pytest.raises(UserError, match=r"xfdumanifest.xml: lists "):
        fetch()
    assert not list((tmp_path / "to").iterdir())


def test_an_archive_of_another_product_or_with_places_elsewhere(services, fetch, tmp_path):
    services.nodes = False
    held = services.add(NEW)
    held.extra = {"../evil.nc": b"evil", "/evil.nc": b"evil", f"{NEW}/../evil.nc": b"evil"}
    target = fetch()
    assert len(list(target.iterdir())) == 1  # it is read in place
    assert not list(tmp_path.rglob("evil*"))
    other = services.add(name("B"))
    other.archive = held.archive
    with pytest.raises(UserError, match=rf"holds {NEW}, {name('B')} expected, twice"):
        fetch()


@pytest.mark.parametrize("length", [True, False])
def test_a_stream_without_end_is_cut(length, services, fetch, tmp_path, monkeypatch):
    services.nodes, services.length = False, length
    services.add(NEW).extra = {"endless": bytes(3_000_000)}
    monkeypatch.setattr(delivery, "_MOST_ARCHIVE", 1_500_000)
    with pytest.raises(UserError, match=r"sends more than the 1500000 bytes|announces \d+ bytes, 1500000 at most"):
        fetch()
    assert sum(path.stat().st_size for path in (tmp_path / "to").iterdir()) <= 1_500_000


def test_a_file_longer_than_its_manifest_says_is_refused(services, fetch):
    held = services.add(NEW)
    held.files["S7_BT_in.nc"] += b"more"
    with pytest.raises(UserError, match=r"S7_BT_in.nc: the server sends more than the 120008 bytes"):
        fetch()


def test_an_address_on_another_server_gets_no_token(services, fetch):
    services.elsewhere = True
    services.add(NEW)
    with pytest.raises(UserError, match="HTTP 401"):
        fetch("eumetsat_ds")
    assert services.authorized == 0


def test_what_the_user_has_to_know_is_one_line(services, fetch, monkeypatch):
    with pytest.raises(UserError, match="no service has a product"):
        fetch()
    with pytest.raises(UserError, match=r"--provider cdse: eodag has cop_dataspace, .*credentials"):
        fetch("cdse")
    services.answers["/odata"] = [(500, {})] * 9
    with pytest.raises(UserError, match="cop_dataspace: the search failed"):
        fetch()
    monkeypatch.setitem(sys.modules, "eodag", None)
    with pytest.raises(UserError, match=r"eodag is not installed: `pip install eodag`"):
        fetch()


def test_a_wrong_password_as_a_user_meets_it(services, tmp_path):
    """Without --provider: eodag's order. eodag puts a traceback into its message, and prints warnings."""
    services.add(NEW)
    password = "another-secret-one"
    words = ("-m", "cloudmask", "fetch", "--near", "50.1,-4.2", "--at", "2026-06-15", "--target", tmp_path / "to")
    variable = {"EODAG__COP_DATASPACE__AUTH__CREDENTIALS__PASSWORD": password}
    done = run(*words, **services.environment, **variable)
    assert secrets_in(done.stdout) == []
    assert password not in done.stdout
    assert done.returncode == 1
    assert errors(done.stdout) == done.stdout.splitlines()[-1:]
    assert "cop_dataspace: the login failed (AuthenticationError: " in done.stdout
    assert not list((tmp_path / "to").iterdir())
