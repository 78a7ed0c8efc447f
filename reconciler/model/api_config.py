"""The ``api`` part of the configuration file."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from reconciler.model.access import Role
from reconciler.model.envelope import Manifest, Name
from reconciler.model.units import Duration, Size


class TlsConfig(Manifest):
    """TLS of the API.

    Attributes:
        certificate: PEM file with the certificate and its chain.
        key: PEM file with its key; without it the certificate's file has it.
        client_ca: PEM file with the authorities whose client certificates are believed; the subject's common
            name is the caller's name. Without it none is asked for.
    """

    certificate: str
    key: str | None = None
    client_ca: str | None = None


class OidcConfig(Manifest):
    """Whose bearer tokens are believed besides our own (OpenID Connect).

    Attributes:
        issuer: ``https://…``; its discovery document tells where the keys are.
        audience: What ``aud`` must contain.
        name_claim: Claim that is the caller's name.
        roles_claim: Claim that lists groups or roles.
        roles: Value of that claim to role; whoever has none of them may do nothing.
    """

    issuer: str = Field(pattern=r"^https?://")
    audience: str = Field(min_length=1)
    name_claim: str = "preferred_username"
    roles_claim: str = "groups"
    roles: dict[str, Role] = {}


class OlderApisConfig(Manifest):
    """The interfaces of the two systems that came before.

    Attributes:
        orchestration: Serve ``/vm/create`` and its like.
        reservations: Serve ``/createVM/`` and its like from the pool of this name.
        pool: Storage pool of volumes that ``/volume/create`` makes.
        network: libvirt network of the one interface of machines that ``/vm/create`` makes; without it they
            have none.
        timeout: Seconds after which a call that waits for a host is answered as failed.
    """

    orchestration: bool = False
    reservations: Name | None = None
    pool: Name | None = None
    network: Name | None = None
    timeout: Duration = 110


class ApiConfig(Manifest):
    """The REST API.

    Attributes:
        listen: ``address:port`` that `reconciler run` serves too, and `reconciler api` by default; without it
            `run` serves nothing.
        reuse_port: Several processes of one user may share the port: `run` and any number of
            `reconciler api`.
        tls: TLS; without it plain HTTP.
        anonymous: Everybody who reaches the loopback address is an admin; refused anywhere else.
        insecure_http: Serve plain HTTP off the loopback address: only where something in front does TLS, on a
            network where nobody else listens.
        origins: Origins (``https://ui.example.org``) whose pages may use what a browser sends by itself (HTTP
            Basic, client certificates) and read answers as scripts (JSONP); our own always may.
        oidc: Further bearer tokens.
        certificates: Name in a client certificate to role.
        folder: Folder of the source for objects made through the API: ``<folder>/<kind>/<name>.yaml``.
        git_only: Files (shell patterns, relative to the source) that only git may change: 409.
        max_body: Bytes of a request's body.
        body_timeout: Seconds that a body may take to arrive.
        session: Seconds that a browser's session lasts.
        older_apis: The older interfaces.
    """

    listen: str | None = None
    reuse_port: bool = False
    tls: TlsConfig | None = None
    anonymous: bool = False
    insecure_http: bool = False
    origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/\s]+$")], ...] = ()
    oidc: OidcConfig | None = None
    certificates: dict[str, Role] = {}
    folder: str = "api"
    git_only: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    max_body: Size = 1 << 20
    body_timeout: Duration = 30
    session: Duration = 12 * 3600
    older_apis: OlderApisConfig = OlderApisConfig()

    @model_validator(mode="after")
    def _address(self) -> Self:
        if self.listen is not None and not self.listen.rpartition(":")[2].isdigit():
            raise ValueError("listen is address:port, for example 127.0.0.1:8440")
        return self
