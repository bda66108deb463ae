"""Serve a run to language-model agents through the Model Context Protocol."""
