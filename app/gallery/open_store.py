"""The image store that the settings ask for."""

from app.errors import ConfigurationError
from app.gallery.local_store import LocalStore
from app.gallery.store import ImageStore, Referenced
from app.settings import Settings


def open_store(settings: Settings, referenced: Referenced) -> ImageStore:
    """Open the store; nothing is asked of a server yet, so that one that is away does not keep Descry from starting.

    Raises:
        ConfigurationError: the store's library is not installed.
    """
    store = _opened(settings, referenced)
    store.min_free_bytes = settings.min_free_bytes
    return store


def _opened(settings: Settings, referenced: Referenced) -> ImageStore:
    if not settings.image_store:
        return LocalStore(settings.images_dir, referenced)
    try:
        from app.gallery.s3_store import S3Store
    except ImportError as error:
        raise ConfigurationError(
            "DESCRY_IMAGE_STORE names a bucket, and boto3 is not installed: pip install 'descry[s3]'"
        ) from error
    bucket, _, prefix = settings.image_store.removeprefix("s3://").partition("/")
    return S3Store(bucket, prefix.strip("/"), settings.s3_endpoint, settings.images_dir / "journal", referenced)
