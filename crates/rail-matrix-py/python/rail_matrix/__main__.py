"""`python -m rail_matrix` is the command `rail-matrix`."""

import sys

from . import main

sys.exit(main())
