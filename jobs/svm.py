"""Run the svm job (package svm): spark-submit jobs/svm.py --help."""

import sys

# Search this file's folder last: in a Spark container the package svm is in a zip file of
# --py-files, and this file would be imported instead of it.
sys.path.append(sys.path.pop(0))

from svm.study import main

if __name__ == "__main__":
    sys.exit(main())
