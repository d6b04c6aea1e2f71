"""Values to text, Markdown and tables. Pure."""
