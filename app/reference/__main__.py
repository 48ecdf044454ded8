"""`python -m app.reference`: renew what is written from the API's description, in a checkout of the repository."""

from app.reference.written import written

for path, text in written().items():
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
