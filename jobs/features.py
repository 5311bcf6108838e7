"""Convert pictures to feature vectors: lists of numbers that a classifier can work with.

Decoding a picture and running a network on it takes long, and needs no other picture. So each task
of Spark receives some of the pictures, and its executor writes their vectors. The program is the
package `features`, from features/extraction.py on; `--help` prints its arguments.
"""

import sys

# Search this file's folder last: in a Spark container the package features is in a zip file of
# --py-files, and this file would be imported instead of it.
sys.path.append(sys.path.pop(0))

from features.extraction import main

if __name__ == "__main__":
    sys.exit(main())
