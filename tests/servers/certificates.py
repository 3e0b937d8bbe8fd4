"""Certificates for servers on loopback: good ones, and one for each way in which a certificate is no proof."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def issue(
    name: str,
    by: Issued | None = None,
    *,
    hosts: tuple[str, ...] = (),
    authority: bool = False,
    days: tuple[int, int] = (-1, 30),
) -> Issued:
    """A certificate for hosts (names or addresses), valid for so many days around now; self-signed without `by`."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    issuer, signer = (by.certificate, by.key) if by is not None else (None, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(own if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_usage(authority), critical=True)
    )
    if not authority:
        names = [_host(host) for host in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


@dataclass(frozen=True, slots=True)
class Shop:
    """An authority with an intermediate one below it, whose certificates lie in a folder as PEM files."""

    folder: Path
    root: Issued
    middle: Issued

    @classmethod
    def open(cls, folder: Path) -> Shop:
        root = issue("Root", authority=True)
        shop = cls(folder, root, issue("Middle", root, authority=True))
        shop.ca_file.write_bytes(root.pem)
        return shop

    @property
    def ca_file(self) -> Path:
        """What whoever trusts this shop names as its authorities."""
        return self.folder / "ca.pem"

    def files(self, name: str, *chain: Issued) -> tuple[Path, Path]:
        """A server's certificate with those that it sends along, and its key."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(each.pem for each in chain))
        key.write_bytes(chain[0].key_pem)
        key.chmod(0o600)
        return certificate, key

    def wrong(self) -> dict[str, tuple[Issued, ...]]:
        """For each way to be no proof of being 127.0.0.1 and localhost, the chain that a server would send."""
        here = ("127.0.0.1", "localhost")
        leaf = issue("leaf", self.middle, hosts=here)
        stranger = issue("Stranger", authority=True)
        return {
            "self-signed": (issue("here", hosts=here),),
            "wrong host": (issue("there", self.middle, hosts=("crm.example.com", "127.0.0.2")), self.middle),
            "expired": (issue("here", self.middle, hosts=here, days=(-30, -1)), self.middle),
            "not yet valid": (issue("here", self.middle, hosts=here, days=(1, 30)), self.middle),
            "unknown authority": (issue("here", stranger, hosts=here), stranger),
            "chain incomplete": (issue("here", self.middle, hosts=here),),
            "issued by no authority": (issue("here", leaf, hosts=here), leaf, self.middle),
            "same name, other key": (issue("here", issue("Root", authority=True), hosts=here),),
        }  # fmt: skip

    def right(self) -> tuple[Issued, ...]:
        return (issue("here", self.middle, hosts=("127.0.0.1", "localhost")), self.middle)
