"""The query path: a description or a picture in, ranked identities out."""
