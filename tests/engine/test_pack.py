import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlab.engine import pack

values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    values,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(min_size=1).filter(lambda k: "$" not in k), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(trees)
def test_any_tree_comes_back_through_json(tree):
    import json

    node, tensors = pack.pack({"tree": tree})
    again = json.loads(json.dumps(node))
    assert pack.unpack(again, tensors) == {"tree": tree}


def test_tensors_come_back_bit_for_bit_through_bytes():
    tree = {"a": torch.randn(3, 4), "list": [torch.arange(5), {"deep": torch.tensor(1.5)}], "n": 3}
    node, tensors = pack.pack(tree)
    again = pack.unpack(node, pack.from_bytes(pack.to_bytes(tensors)))
    assert torch.equal(again["a"], tree["a"])
    assert torch.equal(again["list"][0], tree["list"][0])
    assert float(again["list"][1]["deep"]) == 1.5 and again["n"] == 3


def test_tied_tensors_are_written_under_both_names():
    tied = torch.randn(2, 2)
    again = pack.from_bytes(pack.to_bytes({"in": tied, "out": tied}))
    assert torch.equal(again["in"], tied) and torch.equal(again["out"], tied)


def test_keys_that_are_no_strings_are_a_programming_error():
    with pytest.raises(TypeError, match="keys are strings"):
        pack.pack({"slots": {0: 1}})
