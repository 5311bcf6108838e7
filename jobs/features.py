"""Run the features job (package features): spark-submit jobs/features.py --help."""

import sys

# Search this file's folder last: in a Spark container the package features is in a zip file of
# --py-files, and this file would be imported instead of it.
sys.path.append(sys.path.pop(0))

from features.extraction import main

if __name__ == "__main__":
    sys.exit(main())
