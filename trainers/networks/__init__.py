"""Network architectures: functions that build a Keras model and know nothing of data or training."""
