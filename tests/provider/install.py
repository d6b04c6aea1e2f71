"""Installs the provider `tfops/fakecloud` as a filesystem mirror, for a Terraform without a registry."""

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ADDRESS = "registry.terraform.io/tfops/fakecloud"
VERSION = "1.0.0"

PROVIDER = f"""\
terraform {{
  required_providers {{
    fakecloud = {{
      source  = "tfops/fakecloud"
      version = "{VERSION}"
    }}
  }}
}}
"""

# Terraform links the package into its own directories, so the way up from it leads to the mirror, and the package's
# bytes, hence its hash, do not depend on where that is. SIGINT is ignored before Python can be hit by one.
PROGRAM = """\
#!/bin/sh
trap '' INT
place="${{0%/*}}/../../../../../.."
echo $$ >> "$place/starts"
exec {python} -I -S -c {code} "$place/identity.pem"
"""

# Most of a start is imports: no site, no garbage collection, bytecode that is kept, and nothing of what grpc and
# protobuf would import without a use for it here.
CODE = """\
import gc, sys, types
gc.disable()
sys.path[:0] = {path!r}
class Unused(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {{}})
for name in ("asyncio", "grpc.aio", "google.protobuf.internal.python_message"):
    sys.modules[name] = Unused(name)
from pathlib import Path
from provider.fakecloud import main
main(Path(sys.argv[1]))
"""


def install(directory: Path) -> Path:
    """Make a mirror below `directory`; returns the CLI configuration for TF_CLI_CONFIG_FILE or `cli_config`."""
    directory = directory.resolve()
    package = directory / "mirror" / ADDRESS / VERSION / _platform()
    package.mkdir(parents=True, exist_ok=True)
    program = package / f"terraform-provider-fakecloud_v{VERSION}"
    program.write_text(_program())
    program.chmod(0o755)
    (directory / "identity.pem").write_bytes(_identity())
    settings = directory / "terraform.tfrc"
    settings.write_text(
        "provider_installation {\n"
        f"  filesystem_mirror {{\n    path = {json.dumps(str(directory / 'mirror'))}\n  }}\n"
        "}\n"
    )
    return settings


def starts(directory: Path) -> int:
    """How often the provider was started out of the mirror below `directory`."""
    path = directory / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


@cache
def lock_file(settings: Path) -> bytes:
    """The .terraform.lock.hcl that `terraform init` writes for PROVIDER; `settings` is what `install` returned."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "main.tf").write_text(PROVIDER)
        subprocess.run(
            [shutil.which("terraform") or "terraform", "init", "-input=false", "-no-color"],
            cwd=place,
            env={"PATH": os.environ["PATH"], "HOME": place, "TF_CLI_CONFIG_FILE": str(settings)},
            capture_output=True,
            check=True,
        )
        return (Path(place) / ".terraform.lock.hcl").read_bytes()


def provider_at(root: Path) -> str:
    """HCL: PROVIDER, and the provider with its cloud in `root`."""
    return f'{PROVIDER}\nprovider "fakecloud" {{\n  root = {json.dumps(str(root))}\n}}\n'


def _program() -> str:
    packages = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    path = [str(Path(__file__).resolve().parent.parent), *packages]
    return PROGRAM.format(python=shlex.quote(sys.executable), code=shlex.quote(CODE.format(path=path)))


def _platform() -> str:
    machine = platform.machine().lower()
    return f"{sys.platform}_" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _identity() -> bytes:
    """A private key and its certificate: go-plugin speaks TLS, and to make one at each start would cost 30 ms."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(encoding)
