"""Train linear SVMs: class against class, and one class against all others.

37 classes are 666 pairs, each trained on several shares of the rows: thousands of small models that
do not depend on each other. So each task of Spark receives the rows of some classes, and trains
their models. The program is the package `svm`, from svm/study.py on; `--help` prints its arguments.
"""

import sys

# Search this file's folder last: in a Spark container the package svm is in a zip file of
# --py-files, and this file would be imported instead of it.
sys.path.append(sys.path.pop(0))

from svm.study import main

if __name__ == "__main__":
    sys.exit(main())
