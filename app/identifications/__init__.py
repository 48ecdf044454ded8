"""Identifications: that somebody is the person who was looked for, proposed by one person and confirmed by another."""
