"""The whole runtime in one thread, from one seed: see ``README.md`` beside this file."""
