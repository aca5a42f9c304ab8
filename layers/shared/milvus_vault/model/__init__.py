"""The nouns: frozen values that the other layers pass around. No I/O."""
