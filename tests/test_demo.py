"""The page on this machine's own address: who gets it, and that nobody else does."""

import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection

import pytest

from latent_views.demo import Demo


@pytest.fixture(scope="module")
def demo():
    with Demo(0, "the page ✓".encode()) as demo:
        threading.Thread(target=demo.serve_forever, daemon=True).start()
        yield demo
        demo.shutdown()


def visit(demo: Demo, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", demo.server_port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_the_address_that_is_written_opens_the_page(demo):
    assert demo.address.startswith(f"http://127.0.0.1:{demo.server_port}/?token=") and len(demo.token) >= 20
    assert visit(demo, f"/?token={demo.token}") == (200, "the page ✓")
    assert visit(demo, f"/?token={demo.token}", Host=f"localhost:{demo.server_port}")[0] == 200
    assert visit(demo, f"/?token={demo.token}", Origin=f"http://127.0.0.1:{demo.server_port}")[0] == 200


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=guess", "/?token=é", "//?token", "/%00", "/?" + "x" * 20_000])
def test_without_its_token_there_is_nothing(demo, path):
    if path.isascii():
        status, text = visit(demo, path)
        assert status in (403, 414) and "the page" not in text
    assert visit(demo, f"/?token={demo.token}")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example", ""])
def test_another_host_is_refused_with_the_token_too(demo, host):
    assert visit(demo, f"/?token={demo.token}", Host=host)[0] in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://"])
def test_another_pages_request_is_refused(demo, origin):
    assert visit(demo, f"/?token={demo.token}", Origin=origin)[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_there_is_nothing_to_do_but_read(demo, method):
    assert visit(demo, f"/?token={demo.token}", method)[0] == 501


def test_it_listens_on_loopback_only_and_survives_what_is_no_request(demo):
    assert demo.server_address[0] == "127.0.0.1"
    for noise in (b"", b"\0\1\2\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n"):
        with socket.create_connection(("127.0.0.1", demo.server_port), timeout=5) as line:
            line.sendall(noise)
    assert visit(demo, f"/?token={demo.token}")[0] == 200


def test_many_visits_at_once_are_one_process(demo):
    found: list[int] = []
    visits = [threading.Thread(target=lambda: found.append(visit(demo, f"/?token={demo.token}")[0])) for _ in range(30)]
    for one in visits:
        one.start()
    for one in visits:
        one.join(20)
    assert found == [200] * 30


def test_a_port_that_is_taken_is_said_in_a_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "latent_views.demo", "--no-browser", "--port", str(taken.getsockname()[1])]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 1 and len(run.stderr.strip().splitlines()) == 1 and "Try --port 0" in run.stderr
