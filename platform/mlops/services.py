"""What the platform offers, as the next layer and other teams get it."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi


@dataclass(frozen=True)
class Login:
    """How to log in somewhere: who, and where the password is. Never the password."""

    url: str
    user: str
    secret: str
    """NAMESPACE/NAME of the Kubernetes Secret."""
    key: str
    """Key of the password in it."""

    def describe(self) -> dict[str, str]:
        """As an output: with the command that shows the password to whoever may see it."""
        namespace, _, name = self.secret.partition("/")
        path = self.key.replace(".", r"\.")
        command = f"kubectl -n {namespace} get secret {name} -o jsonpath='{{.data.{path}}}' | base64 -d"
        return {"url": self.url, "user": self.user, "secret": self.secret, "key": self.key, "password": command}


@dataclass(frozen=True)
class S3:
    """An object store, as every application sees it."""

    endpoint: str
    """URL inside the cluster."""
    region: str
    path_style: bool
    """Whether a bucket is a part of the path; else it is a part of the host name."""
    buckets: Mapping[str, str]
    """Purpose to the bucket's name."""
    public: str | None = None
    """URL from outside."""

    def describe(self) -> dict[str, object]:
        """As an output."""
        return {
            "endpoint": self.endpoint,
            "public_endpoint": self.public,
            "region": self.region,
            "path_style": self.path_style,
            "buckets": dict(self.buckets),
        }


@dataclass(frozen=True)
class Keys:
    """Access to some buckets."""

    access_key: pulumi.Output[str]
    secret_key: pulumi.Output[str]
    """A secret."""


@dataclass(frozen=True)
class Database:
    """A database of one application."""

    name: str
    user: str
    host: str
    """Service name inside the cluster; follows the primary."""
    password: pulumi.Output[str]
    """A secret."""
    port: int = 5432

    @property
    def uri(self) -> pulumi.Output[str]:
        """postgresql://user:password@host:port/name; a secret. Generated passwords need no quoting."""
        where = f"@{self.host}:{self.port}/{self.name}?sslmode=require"
        return pulumi.Output.secret(pulumi.Output.concat(f"postgresql://{self.user}:", self.password, where))


@dataclass(frozen=True)
class Service:
    """Something that people or programs reach through the ingress."""

    name: str
    """Its host name's first label."""
    url: str
    login: Login | None = None
    """None: by single sign-on, or by the client's own token."""
    health: str = "/"
    """Path that answers when it works; with the login, where it has one."""
