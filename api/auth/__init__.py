"""Who asks: tokens, Basic, sessions, OIDC, client certificates; and what keeps guessing slow."""
