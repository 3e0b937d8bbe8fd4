"""`python -m simulation`: a campaign of schedules, or with --seed the replay of one."""

import sys

from simulation.campaign import main

sys.exit(main())
