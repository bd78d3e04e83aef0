"""Stage files, profiles, and how they become one resolved stage."""
