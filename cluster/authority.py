"""The stack's own certificate authority: nodes trust it for the registry, services are certified by it."""

import pulumi
import pulumi_tls as tls

YEARS = 10
HOURS = YEARS * 365 * 24


class Authority(pulumi.ComponentResource):
    """A key and a certificate that signs others. Made with the cluster, because its nodes must know it first."""

    certificate: pulumi.Output[str]
    """PEM; public."""
    private_key: pulumi.Output[str]
    """PEM; a secret."""

    def __init__(self, name: str, stack: str, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make it; it lasts ten years, so that the clusters that trust it never see its end."""
        super().__init__("leasehold:cluster:Authority", name, None, opts)
        under = pulumi.ResourceOptions(parent=self)
        key = tls.PrivateKey(f"{name}-key", algorithm="ECDSA", ecdsa_curve="P256", opts=under)
        certificate = tls.SelfSignedCert(
            f"{name}-certificate",
            private_key_pem=key.private_key_pem,
            is_ca_certificate=True,
            set_subject_key_id=True,
            validity_period_hours=HOURS,
            allowed_uses=["cert_signing", "crl_signing", "digital_signature"],
            subject={"common_name": f"leasehold {stack}", "organization": "leasehold"},
            opts=under,
        )
        self.private_key = pulumi.Output.secret(key.private_key_pem)
        self.certificate = certificate.cert_pem
        self.register_outputs({})
