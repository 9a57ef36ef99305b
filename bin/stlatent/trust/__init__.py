"""How far each imputed value can be trusted: covered locations, intervals, reliability."""
