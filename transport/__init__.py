"""Transport: the Agent Client Protocol, agent processes, and the event bus."""
