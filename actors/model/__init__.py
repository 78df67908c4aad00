"""The vocabulary: frozen values, enums and ids. Imports nothing of greenroom but the errors."""
