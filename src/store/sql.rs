//! The SQL back end for SQLite and PostgreSQL.
