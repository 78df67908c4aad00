"""Events to subscribers over ZeroMQ, and catch-up from the store."""
