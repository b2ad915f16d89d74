"""The report and the playground: pages made from finished runs."""
