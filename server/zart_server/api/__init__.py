"""Speaks gRPC: servicers of one shape, proto ↔ domain, the error table, interceptors."""
