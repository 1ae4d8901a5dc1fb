"""`python -m vouch TOOL …`, the same as the console command `vouch TOOL …`."""

import sys

from vouch.cli import main

sys.exit(main())
