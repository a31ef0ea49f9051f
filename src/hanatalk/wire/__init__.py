"""Frames, their codec, and both ends of a connection: bytes in, events out. No socket, no clock (spec/01-relay.md)."""
