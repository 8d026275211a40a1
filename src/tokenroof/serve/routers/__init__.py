"""How requests find a replica: a type and a compiled ``choose`` per rule."""
