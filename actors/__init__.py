"""Actors: the kernel, sessions as actors, and the manager that runs them."""
