"""Run the command line as `python -m nanosae`."""

import sys

from nanosae.cli import main

sys.exit(main())
