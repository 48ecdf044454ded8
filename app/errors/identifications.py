"""What is wrong with an identification, or with who decides on it."""

from app.errors.base import ConflictError, NotFoundError

__all__ = [
    "IdentificationExistsError",
    "IdentificationNotFoundError",
    "IdentificationSettledError",
    "NotAPartyError",
    "SamePersonError",
    "SecondPersonMissingError",
]


class IdentificationNotFoundError(NotFoundError):
    """No identification has this id, or it went with its images."""

    code, title = "identification_not_found", "Identification not found"

    def __init__(self, identification_id: int) -> None:
        super().__init__(f"there is no identification {identification_id}; one goes with the last of its images")


class SecondPersonMissingError(ConflictError):
    """Nobody can be told from anybody: no key was made yet."""

    code, title = "second_person_missing", "There is no second person"

    def __init__(self) -> None:
        super().__init__(
            "an identification takes two people, and without keys Descry cannot tell one from another: make a key for "
            "each of them with `descry keys create NAME --scope search`"
        )


class SamePersonError(ConflictError):
    """Whoever proposed wants to decide as well."""

    code, title = "second_person_needed", "A second person decides"

    def __init__(self, name: str) -> None:
        super().__init__(f"the key {name!r} has proposed this itself; the holder of another key confirms or refuses it")


class NotAPartyError(ConflictError):
    """Somebody wants to withdraw what two others have said."""

    code, title = "not_a_party", "Not yours to withdraw"

    def __init__(self, identification_id: int) -> None:
        super().__init__(
            f"identification {identification_id} is withdrawn by one of the two who made it, or with the scope admin"
        )


class IdentificationSettledError(ConflictError):
    """It is in a state in which this cannot be done any more."""

    code, title = "identification_settled", "This was decided already"


class IdentificationExistsError(ConflictError):
    """The same person is proposed, or confirmed, as the one whom this query looked for."""

    code, title = "identification_exists", "This was proposed already"

    def __init__(self, identification_id: int, state: str) -> None:
        super().__init__(
            f"identification {identification_id} says so already and is {state}; confirm, refuse or withdraw that one"
        )
