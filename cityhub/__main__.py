"""``python -m cityhub``: how ``up`` starts its roles."""

import sys

from cityhub.cli import main

sys.exit(main())
