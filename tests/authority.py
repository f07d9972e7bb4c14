"""A certificate authority of one's own, and what it signs."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip
_LASTS = timedelta(days=1)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass
class Authority:
    """Signs certificates; ``folder`` has its own as ``ca.pem``."""

    folder: Path
    name: str = "test CA"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        # What Python 3.13 asks of a certificate beside the rest: who may sign, and by which key.
        signs = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        own = (
            self._builder(_name(self.name), self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**signs), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
        )
        self.ca = self.folder / "ca.pem"
        self.ca.write_bytes(_pem(own.sign(self._key, hashes.SHA256())))

    def issue(
        self,
        file: str,
        common_name: str,
        *alternatives: x509.GeneralName,
        kind: Literal["EC", "RSA"] = "EC",
        ends_in: timedelta = _LASTS,
    ) -> tuple[Path, Path]:
        """Write a certificate and its key, of the kind; gives their paths.

        ``ends_in``: less than nothing, and it has ended.
        """
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = (
            ec.generate_private_key(ec.SECP256R1())
            if kind == "EC"
            else rsa.generate_private_key(65537, 2048)
        )
        names = alternatives or (
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        )
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            self._builder(_name(common_name), key, ends_in)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(signer, critical=False)
        )
        certificate, key_file = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        return certificate, key_file

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        ends_in: timedelta = _LASTS,
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, now + ends_in) - timedelta(minutes=1))
            .not_valid_after(now + ends_in)
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def serial_of(path: Path) -> int:
    """Return the serial number of a certificate in a file."""
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number
