"""One spelling for each place, and patterns that nothing gets around."""

import pytest

from tfops.sources import is_allowed, module_address, provider_address


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("acme/vpc/aws", "registry.terraform.io/acme/vpc/aws"),
        ("acme/vpc/aws//modules/x", "registry.terraform.io/acme/vpc/aws"),
        ("app.terraform.io/acme/vpc/aws", "app.terraform.io/acme/vpc/aws"),
        ("localhost.local:8080/acme/vpc/aws", "localhost.local:8080/acme/vpc/aws"),
        ("github.com/acme/vpc", "git::https://github.com/acme/vpc.git"),
        ("github.com/acme/vpc.git?ref=v1", "git::https://github.com/acme/vpc.git"),
        ("github.com/acme/vpc//modules/x?ref=v1", "git::https://github.com/acme/vpc.git"),
        ("github.com/acme/vpc/aws", "git::https://github.com/acme/vpc.git/aws"),
        ("git@github.com:acme/vpc.git", "git::ssh://git@github.com/acme/vpc.git"),
        ("git::https://github.com/acme/vpc.git//sub?ref=v1", "git::https://github.com/acme/vpc.git"),
        ("https://example.com/x.zip", "https://example.com/x.zip"),
        ("/tmp/module", "/tmp/module"),
    ],
)
def test_a_module_has_one_address(source, address):
    assert module_address(source, product="terraform") == address


def test_a_provider_has_one_address():
    assert provider_address("AWS", product="terraform") == "registry.terraform.io/hashicorp/aws"
    assert provider_address("acme/x", product="tofu") == "registry.opentofu.org/acme/x"
    assert provider_address("evil.example/a/b", product="terraform") == "evil.example/a/b"


@pytest.mark.parametrize(
    ("address", "pattern"),
    [
        ("git::https://github.com/acme/vpc.git", "git::https://github.com/acme/*"),
        ("git::https://github.com/acme/deep/down.git", "git::https://github.com/acme/*"),
        ("git::https://github.com/acme/terraform-vpc.git", "git::https://github.com/acme/terraform-*"),
        ("git::https://git.acme.com/x.git", "git::https://*.acme.com/*"),
        ("registry.terraform.io/acme/vpc/aws", "acme/*"),
        ("registry.terraform.io/hashicorp/aws", "registry.terraform.io/hashicorp/aws"),
    ],
)
def test_a_pattern_allows_what_it_means(address, pattern):
    assert is_allowed(address, [pattern])


@pytest.mark.parametrize(
    ("address", "pattern"),
    [
        ("git::https://github.com/acme-evil/x", "git::https://github.com/acme/*"),
        ("git::https://github.com/acme/../evil/x", "git::https://github.com/acme/*"),
        ("git::https://github.com/acme/..", "git::https://github.com/acme/*"),
        ("git::https://github.com/acme/%2e%2e/evil/x", "git::https://github.com/acme/*"),
        ("git::https://github.com/acme\\..\\evil", "git::https://github.com/acme*/*"),
        ("git::https://evil.com/x.acme.com/y", "git::https://*.acme.com/*"),
        ("git::https://evil.com?x.acme.com/y", "git::https://*.acme.com/*"),
        ("git::https://evil.com#x.acme.com/y", "git::https://*.acme.com/*"),
        ("git::https://a:b@evil.com:1.acme.com/y", "git::https://*.acme.com/*"),
        ("git::https://github.com.evil.com/x", "git::https://github.com*"),
        ("evil.example/hashicorp/aws", "hashicorp/*"),
        ("registry.terraform.io/hashicorp-evil/aws", "hashicorp/*"),
        ("", "*"),
    ],
)
def test_an_address_that_only_looks_like_it_is_not_allowed(address, pattern):
    assert not is_allowed(address, [pattern])


def test_an_empty_list_allows_nothing():
    assert not is_allowed("registry.terraform.io/hashicorp/aws", [])
