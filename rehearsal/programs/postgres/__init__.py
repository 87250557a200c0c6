"""Stand-ins for CloudNativePG: its operator, the manager of an instance, and the plugin that archives.

PostgreSQL itself is real; so are the archive's base backups and write-ahead log, and every recovery from them. These
programs read the fields of the objects that this project writes, and refuse all others by name.
"""
