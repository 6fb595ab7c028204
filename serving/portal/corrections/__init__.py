"""Results that people said are wrong: kept with the right label, in data sets that training reads."""
