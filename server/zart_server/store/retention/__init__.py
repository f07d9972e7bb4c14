"""For how long finished executions are kept, and their removal."""
