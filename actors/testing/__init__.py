"""The fault-injection kit greenroom tests itself with, for the tests of others."""
