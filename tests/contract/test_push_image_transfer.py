"""What a host does to get an image: resumed, checked, and under its name only when it is whole.

The host's side is called in this process, as Ansible would call it there.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import push_world  # noqa: F401  - puts the plugin's folder on the path
import pytest
from reconciler_apply import carrier
from reconciler_apply.carrier import AnsibleCarrier
from reconciler_apply.images import Wanted
from reconciler_apply.outcome import Interrupted, StepError
from support.image_headers import HEADERS, qcow2

from reconciler.settings import data_dir

CONTENT = qcow2() + bytes(range(256)) * 12_000
MIB = 1 << 20


def _module() -> ModuleType:
    path = data_dir("playbooks") / "library" / "reconciler_image.py"
    spec = importlib.util.spec_from_file_location("reconciler_image", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = _module()


@dataclass
class Web:
    """A file on a web server, with the ways in which servers are trouble.

    `cut` ends each answer after so many bytes; `ranges` false: it knows no Range; `claims`: how long the
    file is said to be.
    """

    content: bytes = CONTENT
    ranges: bool = True
    cut: int | None = None
    status: int | None = None
    claims: int | None = None
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range", "bytes=0-")
        self.asked.append(wanted)
        begin = int(wanted.removeprefix("bytes=").partition("-")[0]) if self.ranges else 0
        total = self.claims or len(self.content)
        status = self.status or (416 if begin >= total else 206 if self.ranges else 200)
        request.send_response(status)
        body = self.content[begin:] if status in (200, 206) else b""
        if status == 206:
            request.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        request.send_header("Content-Length", str(total - begin if self.claims else len(body)))
        request.end_headers()
        request.wfile.write(body[: self.cut])


@pytest.fixture
def web() -> Iterator[Web]:
    served = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        served.url = f"http://127.0.0.1:{server.server_port}/debian.qcow2"
        yield served
        server.shutdown()
        thread.join()


class Host:
    """A folder that stands for a host, and the part of an action of Ansible's that the carrier uses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[dict[str, Any]] = []
        self.transferred: list[int] = []
        self._connection = self
        self._shell = self
        self.seconds: float | None = None

    def join_path(self, *parts: str) -> str:
        return "/".join(parts)

    def _make_tmp_path(self) -> str:
        return str(self.folder)

    def _transfer_file(self, local: str, remote: str) -> None:
        shutil.copyfile(local, remote)
        self.transferred.append(Path(local).stat().st_size)

    def _execute_module(
        self, module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        assert (module_name, task_vars) == ("reconciler_image", {})
        defaults = {name: spec.get("default") for name, spec in MODULE.ARGUMENTS.items()}
        assert module_args.keys() <= defaults.keys()
        arguments = defaults | module_args
        if self.seconds is not None and arguments["do"] != "append":
            arguments["seconds"] = self.seconds
        answer: dict[str, Any] = MODULE.respond(arguments)
        self.calls.append(answer)
        return answer

    @property
    def carrier(self) -> AnsibleCarrier:
        return AnsibleCarrier(self, {})

    def want(self, content: bytes = CONTENT, algorithm: str = "sha256", fmt: str = "qcow2") -> Wanted:
        digest = hashlib.new(algorithm, content).hexdigest()
        return Wanted(str(self.target), algorithm, digest, fmt)

    @property
    def target(self) -> Path:
        return self.folder / "debian.0123456789abcdef.qcow2"

    @property
    def part(self) -> Path:
        return self.folder / ".debian.0123456789abcdef.qcow2.part"

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(carrier, "_PAUSE", 0.0)
    folder = tmp_path / "pool"
    folder.mkdir()
    return Host(folder)


def quiet(_done: int, _total: int | None) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_host_fetches_a_file(algorithm: str, ranges: bool, host: Host, web: Web) -> None:
    web.ranges = ranges
    host.carrier.fetch(web.url, host.want(algorithm=algorithm), quiet)
    assert host.target.read_bytes() == CONTENT
    assert host.files() == [host.target.name]
    assert host.target.stat().st_mode & 0o777 == 0o644
    host.carrier.fetch(web.url, host.want(algorithm=algorithm), quiet)
    assert len(web.asked) == 1, "what is there is not fetched again"


def test_what_ends_early_goes_on_from_there(host: Host, web: Web) -> None:
    host.seconds = 0.0  # each call ends after its first chunk
    heard: list[tuple[int, int | None]] = []

    def give_up(done: int, total: int | None) -> None:
        heard.append((done, total))
        if len(heard) == 2:
            raise Interrupted("Abandoned", "killed")

    with pytest.raises(Interrupted):
        host.carrier.fetch(web.url, host.want(), give_up)
    assert heard == [(MIB, len(CONTENT)), (2 * MIB, len(CONTENT))]
    assert host.files() == [host.part.name]
    host.carrier.fetch(web.url, host.want(), quiet)
    assert web.asked == ["bytes=0-", f"bytes={MIB}-", f"bytes={2 * MIB}-"]
    assert host.target.read_bytes() == CONTENT


def test_a_connection_that_breaks_again_and_again_gets_there(host: Host, web: Web) -> None:
    web.cut = 700_000
    host.carrier.fetch(web.url, host.want(), quiet)
    assert len(web.asked) == 5
    assert host.target.read_bytes() == CONTENT


def test_a_part_that_belongs_to_another_file_costs_one_new_beginning(host: Host, web: Web) -> None:
    host.part.write_bytes(b"x" * MIB)
    host.carrier.fetch(web.url, host.want(), quiet)
    assert web.asked == [f"bytes={MIB}-", "bytes=0-"]
    assert host.target.read_bytes() == CONTENT
    host.target.unlink()
    host.part.write_bytes(CONTENT)  # whole already: the server has nothing left to send
    host.carrier.fetch(web.url, host.want(), quiet)
    assert host.files() == [host.target.name]


def test_a_wrong_digest_leaves_nothing(host: Host, web: Web) -> None:
    with pytest.raises(StepError, match="it has the sha256") as caught:
        host.carrier.fetch(web.url, host.want(b"something else"), quiet)
    assert (caught.value.reason, caught.value.terminal) == ("ChecksumMismatch", True)
    assert len(web.asked) == 1
    assert host.files() == []


@pytest.mark.parametrize("name", HEADERS)
def test_the_host_looks_at_the_header_before_the_file_gets_its_name(name: str, host: Host, web: Web) -> None:
    fmt, web.content, mistake = HEADERS[name]
    if not web.content:
        pytest.skip("an empty file cannot be fetched in ranges")
    want = host.want(web.content, fmt=fmt)
    if not mistake:
        host.carrier.fetch(web.url, want, quiet)
        assert host.files() == [host.target.name]
        return
    with pytest.raises(StepError, match=mistake) as caught:
        host.carrier.fetch(web.url, want, quiet)
    assert (caught.value.reason, caught.value.terminal) == ("ImageRefused", True)
    assert host.files() == []


def test_servers_that_do_not_give_it(host: Host, web: Web) -> None:
    web.status = 404
    with pytest.raises(StepError, match="HTTP 404") as caught:
        host.carrier.fetch(web.url, host.want(), quiet)
    assert (caught.value.reason, caught.value.terminal) == ("FetchRefused", False)
    assert len(web.asked) == 1
    web.status = 503
    with pytest.raises(StepError, match="HTTP 503") as caught:
        host.carrier.fetch(web.url, host.want(), quiet)
    assert caught.value.reason == "FetchFailed"
    assert len(web.asked) > 3, "it may be busy for a moment only"
    with pytest.raises(StepError, match="refused") as caught:
        host.carrier.fetch("http://127.0.0.1:1/x", host.want(), quiet)
    assert caught.value.reason == "FetchFailed"


def test_a_file_that_does_not_fit_is_not_begun(host: Host, web: Web) -> None:
    web.claims = 1 << 60
    with pytest.raises(StepError, match="bytes free") as caught:
        host.carrier.fetch(web.url, host.want(), quiet)
    assert caught.value.reason == "PoolFull"
    assert not host.target.exists()


def test_a_file_of_the_controller_travels_in_pieces(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "_PIECE", MIB)
    monkeypatch.setattr(carrier, "_LARGEST_PIECE", MIB)
    source = tmp_path / "debian.qcow2"
    source.write_bytes(CONTENT)
    heard = []

    def give_up(done: int, total: int | None) -> None:
        heard.append((done, total))
        if done:
            raise Interrupted("Abandoned", "killed")

    with pytest.raises(Interrupted):
        host.carrier.copy(source, host.want(), give_up)
    assert heard == [(0, len(CONTENT)), (MIB, len(CONTENT))]
    host.carrier.copy(source, host.want(), quiet)
    assert host.transferred == [MIB, MIB, len(CONTENT) - 2 * MIB], "what was there was not sent again"
    assert (host.files(), host.target.read_bytes()) == ([host.target.name], CONTENT)

    host.target.unlink()
    host.part.write_bytes(b"x" * (2 * MIB))  # of another file
    host.carrier.copy(source, host.want(), quiet)
    assert host.target.read_bytes() == CONTENT

    host.target.unlink()
    with pytest.raises(StepError) as caught:
        host.carrier.copy(source, host.want(b"it was another file then"), quiet)
    assert (caught.value.reason, caught.value.terminal) == ("ChecksumMismatch", False)
    assert host.files() == []


def test_a_small_file_travels_at_once(host: Host, tmp_path: Path) -> None:
    source = tmp_path / "debian.qcow2"
    source.write_bytes(CONTENT)
    host.part.write_bytes(b"left from an earlier attempt")
    host.carrier.copy(source, host.want(), quiet)
    assert (len(host.calls), host.transferred) == (1, [len(CONTENT)])
    assert (host.files(), host.target.read_bytes()) == ([host.target.name], CONTENT)


def test_a_volume_of_the_host_is_copied_with_its_holes(host: Host, tmp_path: Path) -> None:
    source = tmp_path / "golden.raw"
    with source.open("wb") as file:
        file.write(b"boot")
        file.seek(32 * MIB)
        file.write(b"middle")
        file.truncate(64 * MIB)
    want = host.want(source.read_bytes(), fmt="raw")
    host.seconds = 0.0
    with pytest.raises(Interrupted):
        host.carrier.clone(str(source), want, _raise_at(8 * MIB))
    host.carrier.clone(str(source), want, quiet)
    assert host.target.read_bytes() == source.read_bytes()
    assert host.target.stat().st_blocks * 512 < 8 * MIB
    host.target.unlink()
    with pytest.raises(StepError, match="No such file") as caught:
        host.carrier.clone(str(tmp_path / "gone"), want, quiet)
    assert caught.value.reason == "CopyFailed"


def _raise_at(size: int) -> Any:
    def report(done: int, _total: int | None) -> None:
        if done >= size:
            raise Interrupted("Abandoned", "killed")

    return report


@contextmanager
def another_writer(part: Path) -> Iterator[None]:
    with part.open("w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_two_never_write_at_once(host: Host, web: Web) -> None:
    arguments = {"do": "fetch", "url": web.url, "seconds": 0.1} | {
        "target": str(host.target),
        "algorithm": "sha256",
        "digest": host.want().digest,
        "format": "qcow2",
    }
    with another_writer(host.part):
        answer = MODULE.respond(arguments)
        assert (answer["busy"], answer["done"], web.asked) == (True, False, [])
        waiter = threading.Thread(target=host.carrier.fetch, args=(web.url, host.want(), quiet))
        waiter.start()
        host.target.write_bytes(CONTENT)  # the other one is done
        host.part.unlink()
    waiter.join(10)
    assert not waiter.is_alive()
    assert web.asked == []
    assert host.files() == [host.target.name]


def test_many_at_once_fetch_it_once(host: Host, web: Web) -> None:
    threads = [
        threading.Thread(target=Host(host.folder).carrier.fetch, args=(web.url, host.want(), quiet))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert host.target.read_bytes() == CONTENT
    assert web.asked == ["bytes=0-"]


def test_a_part_is_never_followed_to_somewhere_else(host: Host, web: Web, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    host.part.symlink_to(victim)
    with pytest.raises(StepError):
        host.carrier.fetch(web.url, host.want(), quiet)
    assert victim.read_bytes() == b"precious"


def test_what_a_disk_lies_over(host: Host, tmp_path: Path) -> None:
    def overlay(name: str, below: str) -> str:
        path = tmp_path / name
        create = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", below, "-F", "qcow2"]
        subprocess.run([*create, path, "1M"], check=True)
        return str(path)

    (tmp_path / "base").write_bytes(qcow2())
    (tmp_path / "plain").write_bytes(b"raw" * 1000)
    middle = overlay("middle", "base")
    top = overlay("top", middle)
    (tmp_path / "circle").write_bytes(
        qcow2(backing=512)[:16] + struct.pack(">I", 6) + qcow2()[20:512] + b"circle"
    )
    circle, plain = str(tmp_path / "circle"), str(tmp_path / "plain")
    gone = str(tmp_path / "gone")
    found = host.carrier.chains([top, plain, circle, gone])
    assert found == {top: [middle, str(tmp_path / "base")], plain: [], circle: None, gone: []}
