"""An authority and what it vouches for: the edge, a telephone and a proxy, all by the address 127.0.0.1."""

import subprocess

KINDS = ["edge", "phone", "proxy"]


class Certificates:
    def __init__(self, directory):
        directory.mkdir(parents=True)
        self.directory = directory
        self._openssl("req", "-x509", *new_key("authority"), "-out", "authority.pem", "-days", "2", "-subj", "/CN=interop",
                      "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign")
        for name in KINDS:
            self._openssl("req", *new_key(name), "-out", f"{name}.csr", "-subj", f"/CN={name}")
            (directory / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
            self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-days", "2",
                          "-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    def path(self, name):
        return str(self.directory / name)

    def of_phone(self):
        return {"certificate": self.path("phone.pem"), "key": self.path("phone.key"), "authority": self.path("authority.pem")}

    def of_edge(self, config):
        """The edge speaks TLS besides, and its trunk is vouched for."""
        config["sip"]["listen"].append("tls:127.0.0.1:0")
        config["sip"] |= {"tls_certificate": self.path("edge.pem"), "tls_key": {"file": self.path("edge.key")}}
        config["providers"]["sip-main"]["tls_trusted_certificates"] = self.path("authority.pem")

    def _openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.directory, check=True, capture_output=True)


def new_key(name):
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
