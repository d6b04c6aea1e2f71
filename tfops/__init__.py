"""GitOps for Terraform without a server."""

__version__ = "0.1.0"
