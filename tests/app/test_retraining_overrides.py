"""What a request for a retraining may not set."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from app.retraining.service import OWN
from training.recipe import Recipe


def fields_with_files(part: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in part.model_fields.items():
        kinds = {field.annotation, *get_args(field.annotation)}
        if Path in kinds:
            yield prefix + name
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from fields_with_files(kind, f"{prefix}{name}.")


def test_no_override_of_a_request_names_a_file() -> None:
    found = set(fields_with_files(Recipe)) | {"encoder.pretrained"}  # a name of the model hub, or a file
    assert found >= {"data.root", "encoder.start", "hkgr.parsed", "bdam.descriptions"}
    assert [name for name in found if not name.startswith(OWN)] == []
