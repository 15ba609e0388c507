"""The pods of a rendered chart as local processes, in namespaces of their own. Only root can start them."""
