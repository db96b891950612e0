-- Parameter: the name, put in as an identifier.
CREATE DATABASE {database}
