"""Code that several jobs share: arguments, files on Hadoop file systems, logging, result.json."""
