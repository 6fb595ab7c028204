"""Certificates that are made for a test and trusted by nobody else."""

import ipaddress
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM text."""

    certificate: str
    key: str

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Writes the files `<name>.pem` and `<name>.key`."""
        files = folder / f"{name}.pem", folder / f"{name}.key"
        for file, text in zip(files, (self.certificate, self.key), strict=True):
            file.write_text(text)
        return files

    def credentials(self) -> grpc.ServerCredentials:
        """For a server of gRPC."""
        return grpc.ssl_server_credentials([(self.key.encode(), self.certificate.encode())])

    def ssl_config(self) -> str:
        """The text of a model server's SSLConfig file."""
        return f"server_key: {json.dumps(self.key)}\nserver_cert: {json.dumps(self.certificate)}\n"


def make(*names: str, signer: Certificate | None = None) -> Certificate:
    """Makes a certificate of a server.

    Args:
        names: Names and addresses that it is for.
        signer: Who signs it; without, it signs itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test of HexaFace")])
    issuer, signing = who, key
    if signer:
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server of a test")])
        signing = serialization.load_pem_private_key(signer.key.encode(), None)
    now = datetime.now(timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=12))
        .add_extension(x509.SubjectAlternativeName([_name(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=not signer, path_length=None if signer else 0), critical=True)
        .sign(signing, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificate(signed.public_bytes(pem).decode(), secret.decode())


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
