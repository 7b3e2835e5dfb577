"""The explorer: one file per page, `registry` lists them. No formulas here; numbers come from the API, plots from `simulator.figures`."""
