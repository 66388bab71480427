"""Python functions as steps: what they are called with, where they are found, and processes that run them."""
