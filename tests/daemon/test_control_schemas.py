"""The documents of the control socket mirror the views."""

from dataclasses import fields

import pytest
from pydantic import BaseModel, ValidationError

from coterie import views
from coterie.control import schemas


@pytest.mark.parametrize(
    ("model", "view"),
    [
        (schemas.Job, views.JobView),
        (schemas.Run, views.RunView),
        (schemas.Member, views.MemberView),
        (schemas.Clock, views.ClockView),
        (schemas.Status, views.StatusView),
        (schemas.Verify, views.VerifyView),
        (schemas.Invite, views.InviteView),
        (schemas.SubmitBody, views.SubmitRequest),
    ],
)
def test_every_field_of_a_view_is_in_its_document(model: type[BaseModel], view: type) -> None:
    assert [name for name in model.model_fields if name != "schema_"] == [field.name for field in fields(view)]


@pytest.mark.parametrize(
    "bad",
    [
        {"priority": float("nan")},
        {"priority": -1},
        {"retries": 101},
        {"placement": "moon"},
        {"inputs": {"a": 1}},
        {"text": "x" * (schemas.TEXT_CHARS_MAX + 1)},
        {"file": ""},
        {"surprise": 1},
    ],
)
def test_a_submission_has_bounds(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        schemas.SubmitBody.model_validate({"file": "ci.yml", "text": "on: push", **bad})
