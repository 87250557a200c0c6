"""A deployed stack as its users see it: by the stack outputs, names, logins and certificates."""
