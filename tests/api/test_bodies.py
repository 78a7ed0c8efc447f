"""Bodies that are too large, too slow, or break off: over a real socket, as a stranger would send them."""

import json
import socket
import threading

import pytest
from support.served import Served

from api.app import create_app
from api.listening import listen
from api.server import Server
from reconciler.model.api_config import ApiConfig

PATH = "/api/v1/virtualmachines/x"
MOST = 4096


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made = Served(tmp_path_factory.mktemp("bodies"), ApiConfig(max_body=MOST, body_timeout=1))
    yield made
    made.close()


@pytest.fixture(scope="module")
def address(served):
    with Server(create_app(served.services), listen("127.0.0.1:0")) as server:
        yield "127.0.0.1", server.ports[0]


class Talk:
    """A connection on which one says just what one wants."""

    def __init__(self, address):
        self._socket = socket.create_connection(address, timeout=20)

    def say(self, *lines, body=b""):
        head = "\r\n".join(
            [f"PUT {PATH} HTTP/1.1", "Host: api.test", "Content-Type: application/yaml", *lines]
        )
        self._socket.sendall(head.encode() + b"\r\n\r\n" + body)
        return self

    def send(self, data):
        self._socket.sendall(data)
        return self

    def end(self):
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def hear(self):
        """Status and body of the answer."""
        said = b""
        while b"\r\n\r\n" not in said:
            part = self._socket.recv(65536)
            if not part:
                return 0, b""
            said += part
        head, _, body = said.partition(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.lower().splitlines()
                if line.startswith(b"content-length")
            ),
            0,
        )
        while len(body) < length:
            body += self._socket.recv(65536)
        return int(head.split()[1]), body


@pytest.fixture
def talk(address):
    made = Talk(address)
    yield made
    made._socket.close()


def written(served):
    return served.client.simulate_get(PATH).status_code == 200


def test_an_announced_giant_is_refused_unread(talk, served):
    status, body = talk.say(f"Content-Length: {100 << 20}").hear()
    assert (status, json.loads(body)["status"]) == (413, 413)
    assert str(MOST) in json.loads(body)["detail"]


def test_a_giant_in_chunks_is_refused_once_it_is_too_large(talk, served):
    talk.say("Transfer-Encoding: chunked")
    chunk = b"400\r\n" + b"#" * 0x400 + b"\r\n"

    def pour():
        try:
            for _ in range(100):
                talk.send(chunk)
        except OSError:
            pass

    pouring = threading.Thread(target=pour)
    pouring.start()
    status, _ = talk.hear()
    pouring.join()
    assert status == 413


def test_a_body_that_does_not_come_is_given_up(talk):
    status, body = talk.say("Content-Length: 100").send(b"spec: {").hear()
    assert status == 408
    assert b"within 1 seconds" in body


def test_half_of_a_body_is_never_taken_for_the_whole(talk, served):
    # What arrived of it is a manifest of its own, and a fine one.
    half = b"metadata: {name: x}\nspec:\n  instanceType: small\n"
    talk.say(f"Content-Length: {len(half) + 20}").send(half).end()
    assert talk.hear()[0] in (0, 400)
    assert not written(served)


def test_half_of_a_body_in_chunks_neither(talk, served):
    half = b"metadata: {name: x}\nspec:\n  instanceType: small\n"
    talk.say("Transfer-Encoding: chunked").send(b"%x\r\n%s\r\n" % (len(half), half)).end()
    assert talk.hear()[0] in (0, 400)
    assert not written(served)


def test_what_fits_is_taken(talk, served):
    whole = b"spec: {instanceType: small}\n" + b"#" * (MOST - 28)
    assert talk.say(f"Content-Length: {len(whole)}").send(whole).hear()[0] == 201
    assert written(served)
