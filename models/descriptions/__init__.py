"""What a description says, as a graph: things, what they are like, and how they relate."""

from models.descriptions.graph import Entity, Relation, SceneGraph, Span
from models.descriptions.parser import parse

__all__ = ["Entity", "Relation", "SceneGraph", "Span", "parse"]
