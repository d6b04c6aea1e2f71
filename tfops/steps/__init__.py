"""What several verbs share, told over the adapters."""
