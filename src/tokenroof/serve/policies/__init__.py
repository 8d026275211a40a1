"""Batching rules of engines: a type and a compiled ``plan`` per engine."""
