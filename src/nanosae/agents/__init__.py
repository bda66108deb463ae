"""A run for language-model agents, by the Model Context Protocol."""
