"""Which attributes the code sets and which objects it reads, from a plan's configuration."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.wiring import Wiring, configured_address, wiring


def block(address: str, **expressions: Any) -> dict[str, Any]:
    """A resource of the configuration."""
    return {"address": address, "expressions": expressions}


def reads(*references: str) -> dict[str, Any]:
    """An expression."""
    return {"references": list(references)}


def module(*resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A module of the configuration."""
    return {"resources": list(resources), **more}


@pytest.mark.parametrize(
    ("address", "configured"),
    [
        ("a.b", "a.b"),
        ("a.b[0]", "a.b"),
        ('a.b["x"]', "a.b"),
        ('module.m["a.b[0]"].a.b["]"]', "module.m.a.b"),
        ('a.b["say \\"hi\\"[1]"]', "a.b"),
    ],
)
def test_an_instance_belongs_to_its_block(address: str, configured: str) -> None:
    assert configured_address(address) == configured


def test_an_object_reads_another_one_straight() -> None:
    wires = Wiring(root=module(block("a.x"), block("a.y", value=reads("a.x.id", "a.x"))))
    assert wires.sources("a.y[3]") == {"a.x"}
    assert wires.sets("a.y", "value")
    assert not wires.sets("a.x", "value")


def test_an_object_reads_through_data_variables_and_outputs() -> None:
    child = module(
        block("a.inner", value=reads("var.given")),
        outputs={"made": {"expression": reads("a.inner.id", "a.inner")}},
    )
    root = module(
        block("a.x"),
        block("data.d.look", key=reads("a.x.id")),
        block("a.after", value=reads("module.m.made", "module.m")),
        module_calls={"m": {"module": child, "expressions": {"given": reads("data.d.look.value")}}},
    )
    wires = Wiring(root=root)
    assert wires.sources("module.m.a.inner") == {"a.x"}
    assert wires.sources("a.after") == {"module.m.a.inner"}


def test_depends_on_and_repetition_are_references() -> None:
    wires = Wiring(
        root=module(
            block("a.x"),
            block("a.z"),
            {**block("a.y"), "depends_on": ["a.x"], "for_each_expression": reads("a.z.id")},
        )
    )
    assert wires.sources("a.y") == {"a.x", "a.z"}


def test_a_local_value_hides_what_it_reads() -> None:
    wires = Wiring(root=module(block("a.y", value=reads("local.v"))))
    assert (wires.sources("a.y"), wires.reads_locals("a.y")) == (frozenset(), True)


def test_roads_that_go_in_a_circle_end() -> None:
    root = module(block("data.d.one", v=reads("data.d.two.v")), block("data.d.two", v=reads("data.d.one.v")))
    assert Wiring(root=root).sources("data.d.one") == frozenset()


@given(
    st.recursive(st.none() | st.text(max_size=3) | st.integers(), lambda i: st.lists(i) | st.dictionaries(st.text(), i))
)
def test_any_document_is_read(value: Any) -> None:
    wires = wiring({"configuration": {"root_module": value}})
    assert wires.sources("a.b") == frozenset()
