"""`python -m rail_matrix` is the command `rail-matrix`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
