"""Model versions, retraining, keys, retention."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from descry_client._sync.transport import Transport, given
from descry_client.models import (
    JobOut,
    KeyList,
    KeyMade,
    KeyOut,
    ModelList,
    ModelOut,
    NewRetentionRules,
    NewRetraining,
    RetentionRuleIn,
    RetentionRules,
    RetrainingPlan,
)
from descry_client.uploads import Part

ScopeName = Literal["search", "ingest", "admin"]
_FILES = {
    "weights": "model.safetensors",
    "spec": "spec.json",
    "card": "model_card.md",
    "calibration": "calibration.json",
}


class Models:
    """/v1/models. What a version lacks is encoded by a job: then that is the answer."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(self) -> ModelList:
        """Every version, and which one answers."""
        return self._transport.json(ModelList, "GET", "/v1/models")

    def get(self, version_id: int) -> ModelOut:
        """One version."""
        return self._transport.json(ModelOut, "GET", "/v1/models/{version_id}", ids={"version_id": version_id})

    def register(self, checkpoint: Path, name: str) -> ModelOut:
        """Upload the folder of a checkpoint as a new version."""
        files = [Part(field, checkpoint / file, file) for field, file in _FILES.items() if (checkpoint / file).exists()]
        return self._transport.json(ModelOut, "POST", "/v1/models", parts=[Part("name", name.encode()), *files])

    def activate(self, version_id: int, *, despite_gate: bool = False) -> ModelOut | JobOut:
        """Let a version answer: at once, or when a job has encoded the gallery for it."""
        return self._transport.json(
            ModelOut | JobOut,  # type: ignore[arg-type]  # a union is a type here
            "POST",
            "/v1/models/{version_id}/activate",
            ids={"version_id": version_id},
            body={"despite_gate": despite_gate},
        )

    def encode(self, version_id: int) -> ModelOut | JobOut:
        """Encode the gallery for a version, without letting it answer."""
        return self._transport.json(
            ModelOut | JobOut,  # type: ignore[arg-type]  # a union is a type here
            "POST",
            "/v1/models/{version_id}/encode",
            ids={"version_id": version_id},
        )

    def rollback(self, version_id: int) -> ModelOut | JobOut:
        """Return from a version to the one before it."""
        return self._transport.json(
            ModelOut | JobOut,  # type: ignore[arg-type]  # a union is a type here
            "POST",
            "/v1/models/{version_id}/rollback",
            ids={"version_id": version_id},
        )

    def delete(self, version_id: int) -> None:
        """Delete a version with its vectors."""
        self._transport.send("DELETE", "/v1/models/{version_id}", ids={"version_id": version_id})

    def retrain(self, request: NewRetraining | Mapping[str, Any]) -> RetrainingPlan | JobOut:
        """Train a candidate by a job; with `dry_run` say what that would be."""
        return self._transport.json(
            RetrainingPlan | JobOut,  # type: ignore[arg-type]  # a union is a type here
            "POST",
            "/v1/admin/retraining-jobs",
            body=request,
        )


class Keys:
    """/v1/admin/keys."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def all(self) -> list[KeyOut]:
        """Every key, oldest first; revoked ones too."""
        return (self._transport.json(KeyList, "GET", "/v1/admin/keys")).keys

    def create(
        self,
        name: str,
        scopes: Sequence[ScopeName],
        *,
        collections: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> KeyMade:
        """Make a key. Nobody can show it again."""
        body = given(
            name=name,
            scopes=list(scopes),
            collections=None if collections is None else list(collections),
            expires_at=expires_at,
        )
        return self._transport.json(KeyMade, "POST", "/v1/admin/keys", body=body)

    def get(self, key_id: int) -> KeyOut:
        """One key."""
        return self._transport.json(KeyOut, "GET", "/v1/admin/keys/{key_id}", ids={"key_id": key_id})

    def revoke(self, key_id: int) -> KeyOut:
        """End a key."""
        return self._transport.json(KeyOut, "DELETE", "/v1/admin/keys/{key_id}", ids={"key_id": key_id})

    def rotate(self, key_id: int) -> KeyMade:
        """Give a key a new secret; the one before ends at once."""
        return self._transport.json(KeyMade, "POST", "/v1/admin/keys/{key_id}/rotate", ids={"key_id": key_id})


class Retention:
    """/v1/admin/retention."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self) -> RetentionRules:
        """How long images are kept, and how many are due."""
        return self._transport.json(RetentionRules, "GET", "/v1/admin/retention")

    def replace(self, rules: Sequence[RetentionRuleIn]) -> RetentionRules:
        """Set these rules and no others. What is due by them is erased within a minute."""
        body = NewRetentionRules(rules=list(rules))
        return self._transport.json(RetentionRules, "PUT", "/v1/admin/retention", body=body)
