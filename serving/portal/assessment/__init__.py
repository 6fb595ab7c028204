"""What is asked of the models, and how their answers are put together; knows nothing of the web."""
