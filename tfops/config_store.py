"""The part of tfops.hcl that says where the store is: a directory, or a bucket."""

from dataclasses import dataclass

import msgspec

from tfops import checks
from tfops.schema import Section, title

LEASE_SECONDS = 120.0
_S3_KEYS = (
    "id",
    "bucket",
    "prefix",
    "region",
    "endpoint",
    "use_path_style",
    "kms_key_id",
    "assume_role",
    "lease",
)


class LocalStore(msgspec.Struct, frozen=True, kw_only=True, tag="local"):
    """A store in a directory. Without a path it lies outside the checkout, where tfops chooses."""

    id: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRole:
    """The role in which tfops opens its bucket."""

    role_arn: str
    external_id: str | None = None
    session_name: str | None = None


class S3Store(msgspec.Struct, frozen=True, kw_only=True, tag="s3"):
    """A store below a prefix of a bucket. Managed states lie beside it, below `<prefix>-state`."""

    id: str | None = None
    bucket: str
    prefix: str = "tfops"
    region: str | None = None
    endpoint: str | None = None
    use_path_style: bool = False
    kms_key_id: str | None = None
    assume_role: StoreRole | None = None
    lease_seconds: float = LEASE_SECONDS


Store = LocalStore | S3Store


def store(top: Section) -> Store:
    """The `store` block; a directory of this machine where there is none."""
    stores = [block for block in top.body.blocks if block.type == "store"]
    for again in stores[1:]:
        text = f"a store stands twice, first on line {stores[0].line}"
        top.faults.add("duplicate", again.line, text, "keep one of them")
    if not stores:
        return LocalStore()
    section = top.sub(stores[0], title(stores[0]))
    if stores[0].labels == ("s3",):
        return _s3_store(section)
    if stores[0].labels != ("local",):
        section.refuse("invalid_value", "is not a kind of store", 'write store "local" { … } or store "s3" { … }')
        return LocalStore()
    return _local_store(section)


def _local_store(section: Section) -> LocalStore:
    section.check_names(attributes=("id", "path"))
    return LocalStore(id=section.get("id", checks.store_id, None), path=section.get("path", checks.text, None))


def _s3_store(section: Section) -> S3Store:
    section.check_names(attributes=_S3_KEYS)
    return S3Store(
        id=section.get("id", checks.store_id, None),
        bucket=section.require("bucket", checks.text, ""),
        prefix=section.get("prefix", checks.key_prefix, "tfops"),
        region=section.get("region", checks.text, None),
        endpoint=section.get("endpoint", checks.url, None),
        use_path_style=section.get("use_path_style", checks.boolean, False),
        kms_key_id=section.get("kms_key_id", checks.text, None),
        assume_role=_store_role(section),
        lease_seconds=section.get("lease", checks.duration_seconds, LEASE_SECONDS),
    )


def _store_role(store: Section) -> StoreRole | None:
    pairs = store.get("assume_role", checks.scalars, None)
    if pairs is None:
        return None
    given = dict(pairs)
    for name, value in given.items():
        if not isinstance(value, str) or not value or "${" in value:
            store.refuse("invalid_value", f'"assume_role": "{name}" must be a plain string')
    for name in given.keys() - {"role_arn", "external_id", "session_name"}:
        store.refuse(
            "unknown_key", f'"assume_role" has the unknown key "{name}"', "known: role_arn, external_id, session_name"
        )
    if "role_arn" not in given:
        store.refuse("missing_key", '"assume_role" lacks its role_arn')
    texts = {name: str(value) for name, value in given.items()}
    return StoreRole(
        role_arn=texts.get("role_arn", ""), external_id=texts.get("external_id"), session_name=texts.get("session_name")
    )
