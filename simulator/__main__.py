"""`python -m simulator` is `lvlm-sim`."""

from simulator.cli import main

raise SystemExit(main())
