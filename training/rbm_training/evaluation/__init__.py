"""How good predictions are; knows neither runs nor pages."""
