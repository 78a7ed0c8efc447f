"""A thin typed client of the REST API, for the command line and for programs."""
