"""What is wrong with the store of vectors, where that is a server."""

from app.errors.base import ConfigurationError, ConflictError, UnavailableError


class VectorStoreError(UnavailableError):
    """The vector store refused or failed at something; nothing is lost, the database has every vector."""

    code, title, retry_after = "vector_store_failed", "The vector store failed", 10


class VectorStoreUnreachableError(VectorStoreError):
    """The vector store does not answer."""

    code, title = "vector_store_unreachable", "The vector store does not answer"


class VectorStoreDeniedError(VectorStoreError):
    """The vector store refuses the token."""

    code, title, retry_after = "vector_store_denied", "The vector store refuses the credentials", 60


class VectorStoreLostError(VectorStoreError):
    """The vector store does not have the index any more; housekeeping loads it anew."""

    code, title = "vector_store_lost", "The vector store has lost an index"


class VectorStoreReleasedError(VectorStoreError):
    """The vector store has an index and does not hold it ready: it was started anew, or somebody released it."""

    code, title = "vector_store_released", "The vector store does not hold an index ready"


class VectorStoreInUseError(ConfigurationError):
    """Another process has the files of Milvus Lite open, and it allows one."""

    code, title = "vector_store_in_use", "The vector store is open in another process"


class VectorStoreMismatchError(ConfigurationError):
    """What the vector store holds under our name is not of the form that this version of Descry makes."""

    code, title = "vector_store_mismatch", "The vector store holds something else under this name"


class VectorEngineMissingError(ConfigurationError):
    """The library of the configured vector engine is not installed."""

    code, title = "vector_engine_missing", "The vector engine is not installed"


class GpuIndexMissingError(ConfigurationError):
    """The configured kind of GPU index cannot be made: there is no GPU, or FAISS was built without it."""

    code, title = "gpu_index_missing", "The kind of GPU index is not there"


class MemoryShortError(ConflictError):
    """An index would need more memory than is available; nothing was begun."""

    code, title = "memory_short", "The index does not fit into memory"


class EnginesDifferError(ConflictError):
    """Two vector engines do not give the same answers from the same log."""

    code, title = "vector_engines_differ", "The vector engines do not agree"
