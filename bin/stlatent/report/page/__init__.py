"""How the report is drawn."""
