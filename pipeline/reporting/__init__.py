"""Numbers as pictures and pages."""
