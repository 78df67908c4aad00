"""One live session: its actor, the interpreter of effects, start-up, streams, finalization."""
