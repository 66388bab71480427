"""Whatever this peer means to say, it says so that others take it."""

import pytest

from coterie_protocols.acceptable import OP_BYTES_MAX, acceptable, objection
from coterie_protocols.encoding import encode
from coterie_protocols.op_writing import op_to_value
from coterie_protocols.ops import NEEDS_MAX, Claim, Genesis, Op
from protocols.building import Pen, cancel, claim, done, release, run_of, submit

pen = Pen()
held = pen.write(1, submit())
RUN = run_of(held)


@pytest.mark.parametrize(
    "op", [submit(), claim(RUN), release(RUN, held), done(RUN, held), cancel(RUN), Genesis("home", bytes(16))]
)
def test_what_is_good_stays_as_it_is(op: Op) -> None:
    assert objection(op) == ""
    assert acceptable(op) == op


def test_a_claim_with_more_needs_than_fit_names_none() -> None:
    many = Claim(RUN, "all", 1, None, {f"{i:03d} " + "x" * 60: held.cid for i in range(NEEDS_MAX)})
    assert len(encode(op_to_value(many))) > OP_BYTES_MAX
    kept = acceptable(many)
    assert isinstance(kept, Claim)
    assert (kept.consumed, objection(kept)) == ({}, "")
    few = Claim(RUN, "all", 1, None, {"a": held.cid})
    assert acceptable(few) == few
