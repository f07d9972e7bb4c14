"""The one path of mutating calls: each RPC is a named `Mutation`, and `Mutations` runs it."""
