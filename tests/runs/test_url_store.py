"""A run behind a URL, on a stand-in of S3; and what is told of what cannot be reached."""

import re
import sys
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec

import fsspec
import keras
import numpy as np
import pytest

from advkeras.attacks import AttackResult
from advkeras.errors import InvalidInputError
from advkeras.npz import read_arrays
from advkeras.runs.execute import UnitsFailedError, execute
from advkeras.runs.ray_workers import execute_on_ray
from advkeras.runs.remote import RemotePath
from advkeras.runs.store import Store

from ..commands import error_of, run
from ..conftest import SHAPE
from ..serving import hostile
from .sums import Sum, chain, computed

needs_s3 = pytest.mark.skipif(not (find_spec("moto") and find_spec("s3fs")), reason="moto or s3fs is not installed")
needs_http = pytest.mark.skipif(not (find_spec("aiohttp") and find_spec("requests")), reason="aiohttp is not installed")


@pytest.fixture(scope="module")
def s3():
    """A bucket; gives its URL."""
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket"
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["memory", pytest.param("s3", marks=[needs_s3, pytest.mark.slow])])
def url(request, tmp_path):
    """Of a run that has a folder of its own."""
    start = "memory://" if request.param == "memory" else f"{request.getfixturevalue('s3')}/"
    return f"{start}{tmp_path.name}/run"


def test_units_are_computed_once_damaged_and_failed_ones_again(url, tmp_path):
    store, units = Store(url), chain(tmp_path)
    broken = Sum(number=5, notes=tmp_path, wrong=RuntimeError)
    assert (store.digests(), store.failures()) == (set(), {})
    assert units[0] not in store
    assert store.get(units[0]) is None
    with pytest.raises(UnitsFailedError, match="1 of 5 units failed: sum of 5: RuntimeError: no good"):
        execute([*units, broken], store)
    assert computed(tmp_path) == [1, 2, 3, 4, 5, 5, 5]
    # Another process sees the same.
    other = Store(url)
    assert other.digests() == {unit.digest for unit in units}
    assert other.failures() == {broken.digest: "RuntimeError: no good"}
    assert other.get(units[3]).arrays["total"].tolist() == [10]
    (other.folder / "units" / f"{units[1].digest}.npz").write_bytes(b"PK")
    assert units[1] in store
    assert store.get(units[1]) is None
    assert units[1] not in store
    (tmp_path / "mended").touch()
    execute([*units, broken], store)
    assert computed(tmp_path)[7:] == [2, 5]
    assert store.failures() == {}
    assert sorted(path.name for path in store.folder.iterdir() if path.name != "failures") == ["units"]


def test_objects_have_the_methods_of_a_path(url, tmp_path):
    folder = RemotePath(url)
    (tmp_path / "file").write_bytes(b"content")
    folder.joinpath("a", "b").upload(tmp_path / "file")
    assert (folder / "a" / "b").read_text() == "content"
    assert abs(folder.joinpath("a", "b").stat().st_mtime - (tmp_path / "file").stat().st_mtime) < 60
    assert [str(path) for path in (folder / "a").iterdir()] == [f"{url}/a/b"]
    (folder / "a" / "b").unlink()
    (folder / "a" / "b").unlink(missing_ok=True)
    assert not (folder / "a" / "b").exists()
    with pytest.raises(FileNotFoundError):
        (folder / "a" / "b").read_bytes()


def test_run_model_and_images_may_be_behind_urls(url, tmp_path):
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).uniform(0.2, 0.8, (20, *SHAPE)).astype(np.float32)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(20) % 3)
    for name in ("model.keras", "data.npz"):
        RemotePath(f"{url}/{name}").upload(tmp_path / name)
    known = ("--bounds", 0, 1, "--classes", "ant,bee,cow", "--attack", "fgsm", "--slice", 10)
    for place in (tmp_path, url):
        given = ("--model", f"{place}/model.keras", "--dataset", f"{place}/data.npz", "--output", f"{place}/run")
        shown = run("evaluate", *known, *given)
    assert f"file {url}/data.npz" in shown.stderr
    assert "model: FGSM: already there" in run("evaluate", *known, *given).stderr
    assert "| FGSM |" in run("report", f"{url}/run", "--markdown").stdout
    assert "0 left" in run("status", f"{url}/run").stdout
    found = AttackResult.read(tmp_path / "run" / "model" / "fgsm.npz")
    with RemotePath(f"{url}/run/model/fgsm.npz").open() as stream:
        there = read_arrays(stream, ("adversarials", "success"))
    np.testing.assert_array_equal(there["adversarials"], found.adversarials)
    assert "there is nothing at" in error_of("evaluate", "--model", f"{url}/nothing.keras", *known)


@needs_s3
@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_workers_put_results_behind_a_url(s3, tmp_path):
    store, units = Store(f"{s3}/shared/run"), chain(tmp_path)
    execute_on_ray(units, store, workers=2)
    assert sorted(computed(tmp_path)) == [1, 2, 3, 4]
    assert store.get(units[3]).arrays["total"].tolist() == [10]


class Page(hostile.BluntServer):
    """A web server that says the same to whatever is asked for."""


@needs_http
def test_a_file_that_is_fetched_is_no_larger_than_the_limit(monkeypatch):
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "1MB")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    for say in (
        hostile.drip(head + b"\r\n", bytes(2**16), pause=0),
        hostile.raw(head + b"Content-Length: 9000000\r\n\r\n"),
    ):
        with closing(Page(say, say)) as server:
            url = f"http://127.0.0.1:{server.port}/mine.npz"
            assert re.search(
                f"^Error: {url} takes .* MB; the limit is 1.05 MB", error_of("attack", "fgsm", "--dataset", url)
            )


def test_a_folder_that_is_fetched_is_no_larger_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "1MB")
    folder = f"memory://{tmp_path.name}"
    for name in "ab":
        (RemotePath(folder) / name).write_bytes(bytes(600_000))
    assert "takes 1.2 MB; the limit is 1.05 MB" in error_of("attack", "fgsm", "--model", folder)


def test_names_in_a_fetched_folder_lead_nowhere_else(tmp_path):
    folder = RemotePath(f"memory://{tmp_path.name}")
    (folder / "inside").write_bytes(b"1")
    objects = fsspec.filesystem("memory").store  # as a bucket of a stranger's may name them
    objects[f"/{tmp_path.name}/sub/../../../outside"] = objects[f"/{tmp_path.name}/inside"]
    with pytest.raises(
        InvalidInputError, match=r"names what does not lie there. Received: name='sub/../../../outside'"
    ):
        folder.download(tmp_path / "here")
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


@needs_http
def test_a_page_of_links_is_no_folder():
    page = hostile.answer(b'<a href="../../outside">x</a>', head=["Content-Type: text/html"])
    with closing(Page(page, page)) as server:
        url = f"http://127.0.0.1:{server.port}/run"
        assert "a web server has files, and no folders" in error_of("report", url)
        assert "is no model: give a SavedModel's folder" in error_of("attack", "fgsm", "--model", url)


@needs_s3
@pytest.mark.slow
def test_what_cannot_be_reached_is_one_line_before_anything_is_computed(s3, tmp_path, monkeypatch):
    import s3fs

    units = [Sum(number=1, notes=tmp_path)]
    with pytest.raises(
        InvalidInputError, match=r"^cannot write s3://nowhere/run/.*bucket does not exist; check the .*$"
    ):
        execute(units, Store("s3://nowhere/run"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InvalidInputError, match=r"^cannot write s3://bucket/run/.*127.0.0.1:1.*; check the .*$"):
        execute(units, Store("s3://bucket/run"))
    assert computed(tmp_path) == []
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    ("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("http", "aiohttp"), ("https", "aiohttp")]
)
def test_a_package_that_is_missing_is_named(monkeypatch, scheme, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    monkeypatch.delitem(import_module("fsspec.registry")._registry, scheme, raising=False)
    with pytest.raises(InvalidInputError, match=rf"^cannot reach {scheme}://bucket/run: pip install '{package}'$"):
        Store(f"{scheme}://bucket/run")


def test_an_unknown_scheme_is_refused():
    with pytest.raises(InvalidInputError, match="^cannot reach nothing://bucket/run: Protocol not known: nothing"):
        Store("nothing://bucket/run")
