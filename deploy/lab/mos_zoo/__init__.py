"""The mini zoo: small models of our own, and the world they were trained on."""
