"""
A certificate that nobody trusts, for test servers with TLS.
"""

import datetime
import ipaddress
from collections.abc import Callable, Iterator, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory
from zope.interface import implementer


@implementer(IOpenSSLContextFactory)
class SelfSigned:
    """
    TLS with a certificate that nobody trusts, for these names and the loopback addresses; made anew each time.
    """

    def __init__(self, names: Sequence[str], on_server_name: Callable[[bytes | None], None] | None = None) -> None:
        self._on_server_name = on_server_name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _certificate(self._key, names)
        self.certificate_pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def getContext(self) -> SSL.Context:
        """As IOpenSSLContextFactory says. Twisted's own hands X509 objects to pyOpenSSL, which warns about them."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_privatekey(self._key)
        context.use_certificate(self._certificate)
        asked = self._on_server_name
        if asked is not None:
            context.set_tlsext_servername_callback(lambda connection: asked(connection.get_servername()))
        return context


def _certificate(key: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> x509.Certificate:
    serial = x509.random_serial_number()
    # A name of its own: of several with one name, whoever trusts them all would find the wrong one.
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"m3u8svc.testing {serial:x}")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key())
        .serial_number(serial)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(list(_alternatives(names))), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _alternatives(names: Sequence[str]) -> Iterator[x509.GeneralName]:
    for name in names:
        yield x509.DNSName(name)
    for address in ("127.0.0.1", "::1"):
        yield x509.IPAddress(ipaddress.ip_address(address))
