"""Identities and their images."""
