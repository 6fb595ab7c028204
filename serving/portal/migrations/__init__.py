"""Changes of the database, in order; generated."""
