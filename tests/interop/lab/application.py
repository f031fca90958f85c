"""An application written for Twilio: pages that answer with TwiML, each request verified with Twilio's own validator; and Twilio's own
client with another base URL.
"""

import collections
import http.server
import threading
import urllib.parse

from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from .waiting import until

ACCOUNT = "AC" + "0" * 31 + "7"
SECRET = "the token that signs"

Asked = collections.namedtuple("Asked", "method path fields proven")


class Application:
    """`pages[path]` is a text, a file's bytes, or called with the fields; what is no page is an empty 204."""

    def __init__(self):
        self.asked, self.pages = [], {}
        application = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer({})

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                self.answer(dict(urllib.parse.parse_qsl(body, keep_blank_values=True)))

            def answer(self, fields):
                url = f"http://{self.headers['Host']}{self.path}"
                proven = RequestValidator(SECRET).validate(url, fields, self.headers.get("X-Twilio-Signature", ""))
                path, _, query = self.path.partition("?")
                told = {**dict(urllib.parse.parse_qsl(query, keep_blank_values=True)), **fields}
                application.asked.append(Asked(self.command, path, told, proven))
                page = application.pages.get(path, (204, ""))
                page = page(told) if callable(page) else page
                status, text = page if isinstance(page, tuple) else (200, page)
                self.send_response(status)
                data = text if isinstance(text, bytes) else text.encode()
                self.send_header("Content-Type", "text/xml" if data is not text else "audio/wav")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                """What was asked is the log."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def at(self, path):
        return [asked.fields for asked in list(self.asked) if asked.path == path]

    def wait_for(self, path, within=15, **fields):
        """The first request for `path` that says so."""
        wanted = lambda told: all(told.get(name) == value for name, value in fields.items())
        return until(lambda: [told for told in self.at(path) if wanted(told)], within, f"{path} {fields}")[0]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Elsewhere(TwilioHttpClient):
    """Twilio's client, but for the host."""

    def __init__(self, base):
        super().__init__()
        self.base = base

    def request(self, method, uri, *arguments, **more):
        return super().request(method, uri.replace("https://api.twilio.com", self.base), *arguments, **more)


def client(edge, token=None, account=ACCOUNT):
    return Client(account, token or edge.token, http_client=Elsewhere(edge.http))
