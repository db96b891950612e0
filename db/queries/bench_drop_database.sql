-- With whoever is still in it. Parameter: the name, put in as an identifier.
DROP DATABASE IF EXISTS {database} WITH (FORCE)
