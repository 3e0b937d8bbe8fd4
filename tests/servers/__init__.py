"""Small real servers that the tests speak to: on loopback, on free ports, ended with the tests."""
