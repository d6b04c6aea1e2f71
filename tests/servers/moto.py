"""moto: S3, STS and KMS on one address, in memory. It checks no signature. As a module it is the server's launcher."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tests.servers import Server

CONDITIONS = ("If-Match", "If-None-Match")


class Moto(Server):
    """A moto server of one's own. What it stores is lost when it ends."""

    def __init__(self, directory: Path, *, ignore_conditions: bool = False, fix_kms_digest: bool = True) -> None:
        super().__init__(directory)
        self._ignore_conditions = ignore_conditions
        self._fix_kms_digest = fix_kms_digest

    def _command(self, ports: Sequence[int]) -> list[str]:
        flags = ["--ignore-conditions"] * self._ignore_conditions + ["--fix-kms-digest"] * self._fix_kms_digest
        return [sys.executable, "-m", "tests.servers.moto", "--port", str(ports[0]), *flags]


def ignore_conditions() -> None:
    """Let every PUT of an object overwrite, as some servers do that do not know conditional writes."""
    from moto.s3.responses import S3Response
    from werkzeug.datastructures import Headers

    put_object = S3Response.put_object

    def unconditional(self: Any) -> Any:
        self.headers = Headers([(name, value) for name, value in self.headers.items() if name not in CONDITIONS])
        return put_object(self)

    S3Response.put_object = unconditional


def fix_kms_digest() -> None:
    """Make Sign and Verify take a message of type DIGEST for the digest it is; moto hashes it again (moto#10202)."""
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from moto.kms.responses import KmsResponse
    from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey

    is_digest: ContextVar[bool] = ContextVar("is_digest", default=False)

    def noting(operation: Callable[[Any], str]) -> Callable[[Any], str]:
        def noted(self: Any) -> str:
            token = is_digest.set(self._get_param("MessageType") == "DIGEST")
            try:
                return operation(self)
            finally:
                is_digest.reset(token)

        return noted

    ecdsa_hash = ECDSAPrivateKey._ECDSAPrivateKey__hash_algorithm
    rsa_parameters = RSAPrivateKey._RSAPrivateKey__padding_and_hash_algorithm

    def hash_algorithm(self: Any, signing_algorithm: str) -> Any:
        algorithm = ecdsa_hash(self, signing_algorithm)
        return Prehashed(algorithm) if is_digest.get() else algorithm

    def parameters(self: Any, signing_algorithm: str) -> Any:
        padding, algorithm = rsa_parameters(self, signing_algorithm)
        return padding, Prehashed(algorithm) if is_digest.get() else algorithm

    KmsResponse.sign = noting(KmsResponse.sign)
    KmsResponse.verify = noting(KmsResponse.verify)
    ECDSAPrivateKey._ECDSAPrivateKey__hash_algorithm = hash_algorithm
    RSAPrivateKey._RSAPrivateKey__padding_and_hash_algorithm = parameters


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--ignore-conditions", action="store_true")
    parser.add_argument("--fix-kms-digest", action="store_true")
    options = parser.parse_args()
    if options.ignore_conditions:
        ignore_conditions()
    if options.fix_kms_digest:
        fix_kms_digest()
    from moto.server import main as serve

    serve(["-H", "127.0.0.1", "-p", options.port])


if __name__ == "__main__":
    main()
