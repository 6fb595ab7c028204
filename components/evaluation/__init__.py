"""How models are judged: thresholds, metrics by slice, and the report's tables and figures."""
