"""For people who run the portal: probes, the state of the models and their figures."""
