"""Where people's tables live: text, JSON lines, Parquet, Excel, SQLite, PostgreSQL; read by blocks, written in place."""
