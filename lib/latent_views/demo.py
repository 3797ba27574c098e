"""The page on this machine's own address, behind a token: `make demo`.

    python -m latent_views.demo [--port N] [--no-browser]       serve it and open a browser, until Ctrl-C

Every model runs in the browser, so that there is nothing to answer but the page itself: it is made once, and no visit
starts a process or takes memory here.
"""

from __future__ import annotations

import argparse
import hmac
import secrets
import sys
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from latent_views.bundle import built

HOME = "127.0.0.1"
KEPT_IN = {  # the token does not leave by a link, nor the page into another's frame
    "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip


class Demo(ThreadingHTTPServer):
    """Serves one page, on loopback, to whoever knows its address: a token in it keeps other pages and users out."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, page: bytes):
        super().__init__((HOME, port), Visit)
        self.page, self.token = page, secrets.token_urlsafe(16)

    @property
    def address(self) -> str:
        return f"http://{HOME}:{self.server_port}/?token={self.token}"


class Visit(BaseHTTPRequestHandler):
    """One request. Another Host (a name that was pointed here), another page's Origin and a wrong token get nothing."""

    server: Demo
    server_version, sys_version, timeout = "latent-cot", "", 30

    def do_GET(self) -> None:
        hosts = {f"{name}:{self.server.server_port}" for name in (HOME, "localhost")}
        origin, asked = self.headers.get("Origin"), urlsplit(self.path)
        token = parse_qs(asked.query).get("token", [""])[0]
        if self.headers.get("Host") not in hosts or (origin and origin not in {f"http://{host}" for host in hosts}):
            self.answer(HTTPStatus.FORBIDDEN, b"Only for this machine's own address.")
        elif not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self.answer(HTTPStatus.FORBIDDEN, b"Open the whole address that `make demo` wrote, with its token.")
        elif asked.path != "/":
            self.answer(HTTPStatus.NOT_FOUND, b"There is one page here, at /.")
        else:
            self.answer(HTTPStatus.OK, self.server.page, "text/html")

    def answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        about = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        for name, value in (about | KEPT_IN).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the address with its token is no one else's business."""


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m latent_views.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8866, help="0: any free one")
    parser.add_argument("--no-browser", action="store_true", help="only write the address")
    options = parser.parse_args()
    try:
        demo = Demo(options.port, built().read_bytes())
    except (OSError, OverflowError, ValueError) as error:
        print(f"The page cannot be served on port {options.port}: {error}. Try --port 0.", file=sys.stderr)
        return 1
    with demo:
        print(f"{demo.address}\nThe page is open until Ctrl-C.", flush=True)
        if not options.no_browser:
            webbrowser.open(demo.address)
        demo.serve_forever()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
