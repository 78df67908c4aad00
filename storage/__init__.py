"""Storage: journals, the commit log, and the session store on TinyDB."""
