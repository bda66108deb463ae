"""Groups: families of features, topics of rows."""
