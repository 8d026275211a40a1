"""Options of serving engines under the names that their own command lines use, one type per engine."""
