"""People's files as rows, and rows as people's files."""
