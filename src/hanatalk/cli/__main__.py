"""`python -m hanatalk.cli` is `hana`."""

import sys

from hanatalk.cli import main

sys.exit(main())
