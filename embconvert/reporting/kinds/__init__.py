"""Terms and code samples on the pages, one file for each kind of model."""
