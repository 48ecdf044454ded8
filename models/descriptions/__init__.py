"""What a description says, as a graph: things, what they are like, and how they relate."""

from models.descriptions.graph import LEVELS, Described, Entity, Level, Relation, SceneGraph, Span
from models.descriptions.parser import parse

__all__ = ["LEVELS", "Described", "Entity", "Level", "Relation", "SceneGraph", "Span", "parse"]
