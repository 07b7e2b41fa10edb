"""What an answer must look like: its schema as a model is told it, and the strict reading of what came.

Here belongs the shape; what follows from an answer that does not fit belongs to `chat`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from backfill_assets.core.enrichment import Insight

LONGEST_TEXT = 2000
MOST_STEPS = 50


class UnfitAnswer(Exception):
    """The answer does not fit; `str()` of it says where and how, and quotes nothing of it."""


# Checked here and not in the schema: strict mode of some servers refuses schemas with bounds in them.
def _bounded(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"is longer than {LONGEST_TEXT} characters")
    return text.replace("\0", "").strip()


def _few(steps: list[str]) -> list[str]:
    if len(steps) > MOST_STEPS:
        raise ValueError(f"has more than {MOST_STEPS} entries")
    return [step for step in steps if step]


def _fraction(number: float) -> float:
    if not 0 <= number <= 1:
        raise ValueError("is not from 0 to 1")
    return number


Text = Annotated[str, AfterValidator(_bounded)]


class Answer(BaseModel):
    """The answer, field by field; see the prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    component: Text
    fault: Text
    cause: Text
    resolution_steps: Annotated[list[Text], AfterValidator(_few)]
    summary: Text
    confidence: Annotated[float, AfterValidator(_fraction)]


def _schema() -> Mapping[str, Any]:
    schema = Answer.model_json_schema()
    fields = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in schema["properties"].items()
    }
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


RESPONSE_FORMAT: Mapping[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "work_order_insight", "strict": True, "schema": _schema()},
}


def read(content: str) -> Insight:
    """The insight in a model's answer; raises `UnfitAnswer`."""
    try:
        answer = Answer.model_validate_json(content)
    except ValidationError as error:
        raise UnfitAnswer(_problems(error)) from None  # the cause quotes the answer
    return Insight(
        component=answer.component,
        fault=answer.fault,
        cause=answer.cause,
        resolution_steps=tuple(answer.resolution_steps),
        summary=answer.summary,
        confidence=answer.confidence,
    )


def _problems(error: ValidationError) -> str:
    told = []
    for each in error.errors(include_url=False, include_input=False)[:5]:
        if each["type"] == "json_invalid":
            return "it is not JSON"
        where = ".".join(str(part) for part in each["loc"] if part in Answer.model_fields or isinstance(part, int))
        told.append(f"{where or 'a key'} {_PROBLEMS.get(each['type'], each['msg'].removeprefix('Value error, '))}")
    return "; ".join(told)


_PROBLEMS = {"missing": "is missing", "extra_forbidden": "is not allowed"}
