"""Makes of the settings what a server is protected by."""

from __future__ import annotations

from zart_server.identity.authenticator import Authenticator
from zart_server.identity.certificates import Certificates
from zart_server.identity.grants import IdentityFileError
from zart_server.identity.key_set import KeySet
from zart_server.identity.static_tokens import StaticTokens
from zart_server.identity.web_tokens import Claims, WebTokens
from zart_server.settings import Settings
from zart_server.tls import Certificate, TlsError


class SecurityError(Exception):
    """A file that the settings name cannot be used; the message says which and why."""


def certificate_of(settings: Settings) -> Certificate | None:
    """Return whose credentials the port is opened with; None: without TLS. Raises SecurityError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return Certificate(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    except TlsError as error:
        raise SecurityError(str(error)) from None


def authenticator_of(settings: Settings) -> Authenticator | None:
    """Return what finds out who calls; None: nobody is asked. Raises SecurityError."""
    if not settings.asks_who_calls:
        return None
    claims = Claims(
        issuer=settings.auth_issuer or "",
        audience=settings.auth_audience or "",
        roles=settings.auth_roles_claim,
        tasks=settings.auth_tasks_claim,
        skew=settings.auth_skew,
    )
    try:
        keys = KeySet(settings.auth_jwks) if settings.auth_jwks else None
        return Authenticator(
            StaticTokens(settings.auth_tokens) if settings.auth_tokens else None,
            keys,
            WebTokens(keys, claims) if keys is not None else None,
            Certificates(settings.auth_certificates) if settings.auth_certificates else None,
        )
    except IdentityFileError as error:
        raise SecurityError(str(error)) from None
