"""Identities and images within one unit of work."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.audit.service import AuditService
from app.database.tables import Identity, Image
from app.database.visible import seeing
from app.errors import ExternalIdTakenError, IdentityMergedError, IdentityNotFoundError, ImageNotFoundError
from app.gallery.repository import ImageRepository
from app.identifications.repository import IdentificationRepository
from app.identities.erasures import Entry, ErasureRepository
from app.identities.history import HistoryRepository
from app.identities.repository import IdentityRepository
from app.identities.schemas import IdentityDetail, IdentityOut, IdentityPatch, ImageOut
from app.queries.repository import FeedbackRepository
from app.vectors.repository import LogRepository


class IdentityService:
    """Reads, changes and deletes identities and images."""

    def __init__(self, session: Session) -> None:
        self._identities = IdentityRepository(session)
        self._images = ImageRepository(session)
        self._log = LogRepository(session)
        self._history = HistoryRepository(session)
        self._feedback = FeedbackRepository(session)
        self._identifications = IdentificationRepository(session)
        self._erasures = ErasureRepository(session)
        self._audit = AuditService(session)

    def identity(self, identity_id: int) -> Identity:
        """One identity.

        Raises:
            IdentityMergedError: it was merged into another one, which the error names.
            IdentityNotFoundError: there is none.
        """
        if (found := self._identities.get(identity_id)) is None:
            heir = self._history.heir(identity_id)
            if heir is not None and self._identities.get(heir) is not None:
                raise IdentityMergedError(identity_id, heir)
            raise IdentityNotFoundError(identity_id)
        return found

    def image(self, image_id: int) -> Image:
        """One image.

        Raises:
            ImageNotFoundError: there is none.
        """
        if (found := self._images.get(image_id)) is None:
            raise ImageNotFoundError(image_id)
        return found

    def detail(self, identity_id: int) -> IdentityDetail:
        """An identity with its images."""
        row = self.identity(identity_id)
        images = [ImageOut.of(image) for image in self._identities.images(identity_id)]
        return IdentityDetail(**IdentityOut.of(row).model_dump(), images=images)

    def change(self, identity_id: int, patch: IdentityPatch) -> None:
        """Apply the fields that the patch names. An identity that is given a name is no longer provisional.

        Raises:
            IdentityNotFoundError: there is none.
            ExternalIdTakenError: another identity has the name.
        """
        row = self.identity(identity_id)
        if "external_id" in patch.model_fields_set:
            if patch.external_id is not None:
                with seeing(None):  # names are unique, also beyond the collections of a limited key
                    other = self._identities.by_external_id(patch.external_id)
                if other is not None and other.id != identity_id:
                    raise ExternalIdTakenError(patch.external_id)
                row.provisional = False
            row.external_id = patch.external_id
        if "attributes" in patch.model_fields_set:
            row.attributes = patch.attributes

    def delete_identity(self, identity_id: int) -> list[str]:
        """Delete an identity with its images and their vectors; returns the store names that go with it.

        Its history keeps numbers only: what the identities that were merged into it were called is erased too. So is
        what was said about it in answers to queries, that it was identified, and the vectors of pictures by which
        somebody found it.
        """
        self._log.lock()
        person = self.identity(identity_id)
        images = self._identities.images(identity_id)
        ids = [image.id for image in images]
        self._erasures.forget_queries([identity_id], ids)
        self._drop_images(ids)
        self._forget([identity_id], ids, {person.external_id, *self._drop_identity(identity_id)})
        return [image.store_name for image in images]

    def delete_image(self, image_id: int) -> list[str]:
        """Delete an image and its vectors; returns its store name. A provisional identity goes with its last image."""
        self._log.lock()
        name, people, called = self._drop_image(image_id)
        self._forget(people, [image_id], called)
        return [name]

    def delete_images(self, image_ids: Sequence[int]) -> tuple[list[int], list[str]]:
        """Delete those of some images that exist, and the people who have none left, named or not.

        Returns:
            Ids of the images that were deleted, and their store names.
        """
        self._log.lock()
        found, names, gone, called = list[int](), list[str](), list[int](), set[str | None]()
        for image_id in image_ids:
            if (image := self._images.get(image_id)) is None:
                continue
            owner = image.identity_id
            name, people, old_names = self._drop_image(image_id)
            found.append(image_id)
            names.append(name)
            gone += people
            called |= old_names
            if (person := self._identities.get(owner)) is not None and not self._identities.has_images(owner):
                self._erasures.forget_queries([owner], [])
                gone.append(owner)
                called |= {person.external_id, *self._drop_identity(owner)}
        self._forget(gone, found, called)
        return found, names

    def _drop_image(self, image_id: int) -> tuple[str, list[int], set[str | None]]:
        """Returns its store name, the person who went with it, and what those were called who had been merged in."""
        image = self.image(image_id)
        identity = self.identity(image.identity_id)
        self._erasures.forget_queries([], [image_id])
        self._drop_images([image_id])
        if identity.provisional and not self._identities.has_images(identity.id):
            return image.store_name, [identity.id], self._drop_identity(identity.id)
        return image.store_name, [], set()

    def _forget(self, identity_ids: Sequence[int], image_ids: Sequence[int], names: set[str | None]) -> None:
        """Erase what people wrote about those who are gone. Once for all of them: it reads queries and audit."""
        if not (identity_ids or image_ids):
            return
        self._erasures.forget_named(names)
        self._audit.erase_words(identity_ids, image_ids, [name for name in names if name is not None])

    def _drop_images(self, image_ids: list[int]) -> None:
        self._log.delete(image_ids)
        self._images.delete(image_ids)
        for image_id in image_ids:
            self._feedback.forget_image(image_id)
        self._identifications.forget_images(image_ids)
        self._erasures.forget_files(image_ids)
        self._erasures.note("image", image_ids)

    def _drop_identity(self, identity_id: int) -> set[str | None]:
        """Returns what those were called who had been merged into it."""
        self._identities.delete(identity_id)
        merged = self._history.forget(identity_id)
        self._feedback.forget_identity(identity_id)
        for back in self._identities.several(merged):  # the merge was undone: somebody else, who stays
            del merged[back]
        self._erasures.note("identity", [identity_id, *sorted(merged)])
        return set(merged.values())

    def erase_again(self, entries: Sequence[Entry]) -> list[str]:
        """Apply a ledger to a gallery that is older than it; returns the store names that go.

        Images go by their own numbers. A person whose remaining images were not erased (they had been given to
        somebody else by then) loses name and attributes and is provisional again.
        """
        known, names, called = self._erasures.known(), list[str](), set[str | None]()
        for kind, number, _ in entries:
            if kind == "image" and self._images.get(number) is not None:
                name, _, old_names = self._drop_image(number)
                names.append(name)
                called |= old_names
        for kind, number, _ in entries:
            if kind != "identity" or (person := self._identities.get(number)) is None:
                continue
            self._erasures.forget_queries([number], [])
            called.add(person.external_id)
            if self._identities.has_images(number):
                person.external_id, person.attributes, person.provisional = None, {}, True
                called.update(self._history.forget(number).values())
            else:
                called |= self._drop_identity(number)
        gone = {kind: [number for one, number, _ in entries if one == kind] for kind in ("identity", "image")}
        self._forget(gone["identity"], gone["image"], called)
        noted = self._erasures.known()
        self._erasures.take([entry for entry in entries if entry[:2] not in noted | known])
        return names
