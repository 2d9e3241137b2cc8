"""Tables of people as rows: columns, their kinds and codes, parts named in words."""
