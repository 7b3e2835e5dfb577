"""Other people's files: configurations, processors, traces, launch commands."""
