"""The proxy inside the process of the Hub: each module says what it does."""
