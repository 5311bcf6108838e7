"""The emulator's S3: objects in files with an index in SQLite; bucket settings are moto's."""
