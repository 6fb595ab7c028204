"""Model serving: starts without TFX or Beam."""
