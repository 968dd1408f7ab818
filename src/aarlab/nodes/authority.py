"""The lab's own certificate authority: it signs the hub's certificate and those of nodes. TLS 1.3
on both sides, each with a certificate of this authority and no other."""

import datetime as dt
import hashlib
import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aarlab.core.cluster_layout import NodeFolder, NodesFolder
from aarlab.core.errors import InvalidSubmission, Misconfigured, Unauthorised
from aarlab.core.files import OWNER_ONLY, write_whole
from aarlab.core.hold import Hold

HUB_NAME = "aar-hub"  # for which the hub's certificate is; nodes ask for it, wherever the hub is
AUTHORITY_DAYS, CERTIFICATE_DAYS = 3650, 365
SKEW = dt.timedelta(hours=1)  # by which clocks may differ


@dataclass(frozen=True)
class Signed:
    """A node's certificate."""

    pem: str
    serial: str  # in hexadecimal


class Authority:
    """Opened, or made where there is none."""

    def __init__(self, folder: NodesFolder) -> None:
        """Raises Misconfigured: its files are damaged, or cannot be written."""
        self._folder = folder
        folder.root.mkdir(parents=True, exist_ok=True)
        folder.root.chmod(0o700)

        def busy(holder: str) -> str:
            return f"Process {holder} makes the lab's certificates in {folder.root}. Try again."

        with Hold(folder.lock, busy, wait_s=10.0):
            if not folder.authority.exists():
                self._make()
        try:
            self.pem = folder.authority.read_text()
            self._certificate = x509.load_pem_x509_certificate(self.pem.encode())
            key = serialization.load_pem_private_key(folder.authority_key.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise Misconfigured(
                f"The lab's certificate in {folder.root} cannot be read ({error}). Restore "
                "authority.pem and authority.key; without them all nodes must join again."
            ) from error
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, in hexadecimal."""
        return fingerprint(self.pem)

    def _make(self) -> None:
        key, name = ec.generate_private_key(ec.SECP256R1()), _named("aar lab")
        made = (
            _builder(name, name, key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_whole(self._folder.authority_key, _pem_of_key(key), mode=OWNER_ONLY)
        write_whole(self._folder.authority, made.public_bytes(serialization.Encoding.PEM))

    def sign_node(self, request: str, name: str) -> Signed:
        """A certificate for a node of that name, whatever name the request has.

        Raises:
            InvalidSubmission: the request is damaged, or its key is of another kind.
        """
        try:
            asked = x509.load_pem_x509_csr(request.encode())
            key = asked.public_key()
            proven = asked.is_signature_valid
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise InvalidSubmission("The request for a certificate is damaged.") from error
        if not (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"):
            raise InvalidSubmission("The request's key is none on the curve P-256. Join by `aar`.")
        if not proven:
            raise InvalidSubmission("The request is not signed with its own key. Join by `aar`.")
        return self._signed(key, name, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _signed(
        self, key: ec.EllipticCurvePublicKey, name: str, use: x509.ObjectIdentifier
    ) -> Signed:
        made = (
            _builder(_named(name), self._certificate.subject, key, CERTIFICATE_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        pem = made.public_bytes(serialization.Encoding.PEM).decode()
        return Signed(pem, format(made.serial_number, "x"))

    def hub_context(self) -> ssl.SSLContext:
        """TLS for the hub, with a new key: who comes without a certificate may only join."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(key.public_key(), HUB_NAME, ExtendedKeyUsageOID.SERVER_AUTH)
        write_whole(self._folder.hub_key, _pem_of_key(key), mode=OWNER_ONLY)
        write_whole(self._folder.hub_certificate, made.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # each connection shows its certificate
        context.load_cert_chain(self._folder.hub_certificate, self._folder.hub_key)
        context.load_verify_locations(cadata=self.pem)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


# --- the node's side ------------------------------------------------------------------------------


def new_key(folder: NodeFolder) -> str:
    """Make the node's key; the request for a certificate that goes with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    write_whole(folder.key, _pem_of_key(key), mode=OWNER_ONLY)
    asked = x509.CertificateSigningRequestBuilder().subject_name(_named("node"))
    made = asked.sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def unchecked_context() -> ssl.SSLContext:
    """For the one question that asks for the lab's certificate, which is then compared by its
    fingerprint. Nothing secret is sent by it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def node_context(authority: str, folder: NodeFolder | None = None) -> ssl.SSLContext:
    """TLS for a node: it speaks to a hub of that authority alone, and where it has joined, as
    itself.

    Raises:
        Misconfigured: the node's files cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=authority)
        if folder is not None:
            context.load_cert_chain(folder.certificate, folder.key)
    except (OSError, ValueError) as error:
        where = folder.root if folder is not None else "what the hub sent"
        raise Misconfigured(
            f"The certificates in {where} cannot be used ({error}). Join again: `aar node invite "
            "NAME` on the lab's machine prints the line."
        ) from error
    return context


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate, in hexadecimal.

    Raises:
        InvalidSubmission: it is none.
    """
    try:
        made = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise InvalidSubmission("What the hub sent is no certificate.") from error
    return hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest()


def serial_of(der: bytes) -> tuple[str, str]:
    """(serial number in hexadecimal, name) of a certificate that TLS has checked.

    Raises:
        Unauthorised: it names nobody.
    """
    made = x509.load_der_x509_certificate(der)
    names = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise Unauthorised("The certificate names no node.")
    return format(made.serial_number, "x"), str(names[0].value)


def expires(path: Path) -> dt.datetime:
    """When a certificate expires, in UTC."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
