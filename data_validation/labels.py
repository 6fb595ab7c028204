"""Label vocabularies, in the order in which models number their classes."""

# FER-2013's codes 0 to 6 (Goodfellow et al., "Challenges in Representation Learning", ICML 2013 workshop).
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
