"""The Agent Client Protocol, pure: bytes and calls in, bytes and outputs out."""
