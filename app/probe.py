"""`python -m app.probe`: ends with 0 if the server of this machine would answer a search. For a container's check.

Standard library only, for it runs every few seconds.
"""

import os
import sys
import urllib.error
import urllib.request

_SECONDS = 8.0


def probe(port: str, path: str = "/readyz") -> str:
    """Ask the server on this machine; what is wrong, or nothing.

    Args:
        port: where it listens.
        path: what to ask; any answer but 200 is wrong.
    """
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=_SECONDS) as answer:
            return "" if answer.status == 200 else f"{path} answers {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{path} answers {error.code}: {error.read(2000).decode(errors='replace')}"
    except OSError as error:
        return f"{path} does not answer: {error}"


if __name__ == "__main__":
    if wrong := probe(os.environ.get("DESCRY_PORT", "8000")):
        sys.exit(wrong)
