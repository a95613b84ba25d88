"""``python -m dmsnap`` is the command ``dmsnap``."""

import sys

from dmsnap.cli import main

sys.exit(main())
