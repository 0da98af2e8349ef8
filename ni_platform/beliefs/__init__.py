"""What is believed of the arms of an A/B test, by a model and by what past tests showed of it."""
