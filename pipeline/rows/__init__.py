"""What a row and its tokens are: schema, cells, rows on disk, their order, and tasks over them."""
