"""One agent child process: launch, pipe, files, driver."""
