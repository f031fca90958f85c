"""Kamailio as a proxy that stays in the way of every dialog (Record-Route): numbers lead to the edge or to a telephone."""

import shutil
import socket
import textwrap

from .processes import Process
from .softphone import free_ports
from .waiting import until

TLS = """
    [server:default]
    method = TLSv1.2+
    private_key = {key}
    certificate = {certificate}
    [client:default]
    method = TLSv1.2+
    verify_certificate = no
    """

CONFIG = """
    debug=2
    log_stderror=yes
    children=2
    tcp_children=2
    enable_tls=yes
    listen=udp:127.0.0.1:{port}
    listen=tcp:127.0.0.1:{port}
    listen=tls:127.0.0.1:{tls_port}
    loadmodule "tls.so"
    loadmodule "tm.so"
    loadmodule "sl.so"
    loadmodule "rr.so"
    loadmodule "pv.so"
    loadmodule "maxfwd.so"
    loadmodule "textops.so"
    loadmodule "siputils.so"
    loadmodule "xlog.so"
    modparam("tls", "config", "{directory}/tls.cfg")

    request_route {{
        xlog("L_NOTICE", "passed $rm $si:$sp\\n");
        if (!mf_process_maxfwd_header("10")) {{
            sl_send_reply("483", "Too Many Hops");
            exit;
        }}
        if (has_totag()) {{
            if (loose_route()) {{
                t_relay();
            }} else if (is_method("ACK")) {{
                if (t_check_trans()) t_relay();
            }} else {{
                sl_send_reply("404", "Not here");
            }}
            exit;
        }}
        if (is_method("CANCEL")) {{
            if (t_check_trans()) t_relay();
            exit;
        }}
        t_check_trans();
        if (is_method("INVITE")) record_route();
        if ($rU == "{number}") {{
            $du = "sip:{edge};transport={transport}";
        }} else {{
            $du = "sip:{phone};transport={transport}";
        }}
        if (!t_relay()) sl_reply_error();
    }}
    """


class Kamailio:
    """`transport` is what it speaks to either side."""

    def __init__(self, directory, transport, certificates):
        assert shutil.which("kamailio"), "Kamailio is not installed: tests/peers.sh test"
        directory.mkdir(parents=True)
        self.directory, self.transport = directory, transport
        self.port, _ = free_ports()
        self.tls_port = self.port + 1
        tls = {"key": certificates.path("proxy.key"), "certificate": certificates.path("proxy.pem")}
        (directory / "tls.cfg").write_text(textwrap.dedent(TLS).format(**tls))
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.tls_port if self.transport == 'tls' else self.port}"

    def start(self, number, edge, phone):
        """Calls of `number` go to the edge, all others to the phone."""
        text = textwrap.dedent(CONFIG).format(
            port=self.port, tls_port=self.tls_port, directory=self.directory, transport=self.transport, number=number,
            edge=edge.sip[self.transport], phone=phone.address,
        )
        path = self.directory / "kamailio.cfg"
        path.write_text("#!KAMAILIO\n" + text)
        self.process = Process(
            ["kamailio", "-DD", "-E", "-f", path, "-m", 32, "-M", 4, "-w", self.directory, "-Y", self.directory],
            self.directory / "kamailio.log",
        )
        until(self._is_up, 20, "Kamailio's start")
        return self

    def passed(self, method):
        """How many requests of that method it has passed on."""
        return self.process.text().count(f"passed {method} ")

    def end(self):
        if self.process:
            self.process.end()

    def _is_up(self):
        assert self.process.is_running(), self.process.text()[-3000:]
        # It listens for TLS last.
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", self.tls_port)) == 0
