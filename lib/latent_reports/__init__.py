"""What becomes of records: the papers as data, tables, significance, claims, the report."""
